"""Names of members: which are refused, which are whiteouts, and where they lie.

Nothing is ever unpacked here: names are keys of dictionaries. They are checked all the
same, because other tools will unpack what we publish.

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
    """Return the directory and the last component of a member's name.

    The root is ``(b"", b"")``. Kaniko calls it ``/``, the only absolute name that is
    let through.

    Raises:
        ImageRejected: absolute names and ``..`` would leave the root in other tools'
            hands; a component above 255 bytes fits no file system.
    """
    if raw[:2] == b"./" and raw[2:3] not in (b"", b"/"):
        raw = raw[2:]  # as tar writes when told to take the directory ``.``
    if b"/." not in raw and b"//" not in raw and raw[:1] not in (b".", b"/"):
        parent, _, name = raw.rpartition(b"/")
    else:
        parent, name = _split_unusual(raw)
    if b"\0" in raw:
        raise ImageRejected(f"a layer has a name with a NUL byte: {printable(raw)}")
    if len(raw) > _LONGEST_NAME and (
        len(raw) > LONGEST_PATH or max(map(len, raw.split(b"/"))) > _LONGEST_NAME
    ):
        raise ImageRejected(f"a layer has a name that is too long: {printable(raw)}")
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


def _split_unusual(raw: bytes) -> tuple[bytes, bytes]:
    if raw.startswith(b"/") and raw.strip(b"/"):
        raise ImageRejected(f"a layer has the absolute name {printable(raw)}")
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ImageRejected(f"a layer has a name with ..: {printable(raw)}")
    if not parts:
        return b"", b""
    *parents, name = parts
    for part in parents:
        if part.startswith(WHITEOUT) and not part.startswith(AUFS):
            raise ImageRejected(
                f"a layer has something below a whiteout: {printable(raw)}"
            )
    return b"/".join(parents), name
