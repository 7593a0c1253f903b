"""Names of members: where they lie, which are whiteouts, and which are refused.

Nothing is ever unpacked here: names are keys of dictionaries, so none of them leads out
of a layer.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md ("Whiteouts").
"""

from workers.images.rejected import ImageRejected, printable

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
# AUFS's own bookkeeping, in layers that old Dockers wrote; never part of an image.
AUFS = b".wh..wh."

_LONGEST_NAME = 255  # Linux, NAME_MAX
LONGEST_PATH = 4095  # Linux, PATH_MAX without the NUL


def split_name(raw: bytes) -> tuple[bytes, bytes]:
    """Return the directory and the last component of a member's name, cleaned.

    Every name begins at the root of the layer, be it absolute (``/x``, ``//x``), with
    a dot in front (``./x``) or plain; ``..`` takes back the component before it and
    stops at the root, before any symlink is looked at. So docker, podman, containerd
    and umoci read names; theirs is Go's ``path.Clean("/" + name)``. The root is
    ``(b"", b"")``.

    Raises:
        ImageRejected: a NUL byte; a component or a path longer than Linux takes.
    """
    if raw[:2] == b"./" and raw[2:3] not in (b"", b"/"):
        raw = raw[2:]  # as tar writes when told to take the directory ``.``
    if (
        b"/." not in raw
        and b"//" not in raw
        and raw[:1] not in (b".", b"/")
        and raw[-1:] != b"/"
    ):
        parent, _, name = raw.rpartition(b"/")
    else:
        parent, name = _cleaned(raw)
    if b"\0" in raw:
        raise ImageRejected(f"a layer has a name with a NUL byte: {printable(raw)}")
    if len(raw) > _LONGEST_NAME:
        _check_lengths(join(parent, name))
    return parent, name


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of ``name`` in ``directory``, both relative to the root."""
    return directory + b"/" + name if directory else name


def hidden_name(whiteout: bytes) -> bytes:
    """Return what a whiteout, opaque ones aside, deletes from its directory.

    Raises:
        ImageRejected: it deletes nothing that can be.
    """
    hidden = whiteout.removeprefix(WHITEOUT)
    if hidden in (b"", b".", b".."):
        raise ImageRejected(f"a layer has the whiteout {printable(whiteout)}")
    return hidden


def _cleaned(raw: bytes) -> tuple[bytes, bytes]:
    parts: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    if not parts:
        return b"", b""
    return b"/".join(parts[:-1]), parts[-1]


def _check_lengths(path: bytes) -> None:
    longest = max(map(len, path.split(b"/")))
    if longest > _LONGEST_NAME:
        raise ImageRejected(
            f"a layer has a name that is too long: {longest} bytes between two "
            f"slashes, where file systems take {_LONGEST_NAME}: {printable(path)}"
        )
    if len(path) > LONGEST_PATH:
        raise ImageRejected(
            f"a layer has a path that is too long: {len(path)} bytes, where Linux "
            f"takes {LONGEST_PATH}: {printable(path)}"
        )
