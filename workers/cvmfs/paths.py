"""Paths inside a repository: absolute, raw bytes, the root being the empty path."""

from collections.abc import Collection

from workers.cvmfs.errors import InvalidChange

MAX_NAME_BYTES = 255
_NO_NAMES = frozenset((b"", b".", b".."))


def check_path(path: bytes) -> None:
    """Refuse what is not a path in its one true form.

    Raises:
        InvalidChange: no slash at the start, one at the end, ``.``, ``..``, an empty
            or overlong name, or a NUL.
    """
    if not path:
        return
    first, *names = path.split(b"/")
    if first or not all(map(is_name, names)):
        raise InvalidChange(f"not a path in a repository: {path!r}")


def is_name(name: bytes) -> bool:
    """Tell whether a directory can have an entry of this name."""
    return (
        name not in _NO_NAMES
        and len(name) <= MAX_NAME_BYTES
        and b"/" not in name
        and b"\0" not in name
    )


def joined_names(names: Collection[bytes]) -> bytes | None:
    """Return names joined by slashes, ``None`` if one of them ``is_name`` not.

    All at once, which is many times faster than one by one.

    Raises:
        TypeError: one is not even bytes.
    """
    joined = b"/".join(names)
    if names and (
        joined.count(b"/") != len(names) - 1
        or b"\0" in joined
        or not _NO_NAMES.isdisjoint(names)
        or max(map(len, names)) > MAX_NAME_BYTES
    ):
        return None
    return joined


def parent(path: bytes) -> bytes:
    """Return the directory that holds ``path``; the root is held by itself."""
    return path.rpartition(b"/")[0]


def parents(path: bytes) -> list[bytes]:
    """Return the directories on the way to ``path``, without the root and itself."""
    names = path.split(b"/")
    return [b"/".join(names[:count]) for count in range(2, len(names))]


def is_below(path: bytes, top: bytes) -> bool:
    """Tell whether ``path`` is ``top`` or lies in it."""
    return path == top or path.startswith(top + b"/")


def printable(path: bytes) -> str:
    """Return a path as messages show it."""
    return path.decode(errors="backslashreplace") or "/"
