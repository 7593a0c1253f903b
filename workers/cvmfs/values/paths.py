"""Paths inside a repository: absolute, raw bytes, the root being the empty path."""

from collections.abc import Collection

from workers.cvmfs.errors import InvalidPath

MAX_NAME_BYTES = 255


def check_path(path: bytes) -> None:
    """Refuse what is not a path in its one true form.

    Raises:
        InvalidPath: no slash at the start, one at the end, ``.``, ``..``, an empty or
            overlong name, or a NUL.
    """
    if not path:
        return
    first, *names = path.split(b"/")
    if first or not all(map(is_name, names)):
        raise InvalidPath(f"not a path in a repository: {path!r}")


def is_name(name: bytes) -> bool:
    """Tell whether a directory can have an entry of this name."""
    return (
        name not in (b"", b".", b"..")
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
    if not names:
        return b""
    joined = b"/%b/" % b"/".join(names)
    if (
        joined.count(b"/") != len(names) + 1
        or b"//" in joined
        or b"/./" in joined
        or b"/../" in joined
        or b"\0" in joined
        or max(map(len, names)) > MAX_NAME_BYTES
    ):
        return None
    return joined[1:-1]


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
