"""The root directory of a squashfs, put right after it was made.

mksquashfs 4.5 takes no entry for the root from a tar, ignores what its options say of
owner and time, and writes the moment instead. So these are written over where they
stand. That takes tables of inodes and owners that are not compressed.

Source: Linux, fs/squashfs/squashfs_fs.h.
"""

import struct
from typing import BinaryIO

from workers.errors import PermanentError

_MAGIC = 0x73717368
_SUPERBLOCK = struct.Struct("<5I6H5Q")
_METADATA_BYTES = 8192
_UNCOMPRESSED = 0x8000
_INODE = struct.Struct("<4HI")  # type, mode, index of owner, of group, time
_OWNER = struct.Struct("<I")
_DIRECTORIES = frozenset({1, 8})


class NotPatched(PermanentError):
    """The file is not what we let mksquashfs make."""


def write_root(file: BinaryIO, uid: int, gid: int, seconds: int) -> bool:
    """Write owner and time of the root directory.

    Args:
        file: a squashfs with uncompressed tables.
        uid: numeric owner.
        gid: numeric group.
        seconds: the time, 0 to 2**32 - 1.

    Returns:
        Whether the owner could be set: there is no room for one who owns nothing else.

    Raises:
        NotPatched: it is another sort of file.
    """
    file.seek(0)
    fields = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size))
    magic, owners, root, owner_table, inode_table = (
        *(fields[0], fields[8]),
        *(fields[11], fields[13], fields[15]),
    )
    if magic != _MAGIC:
        raise NotPatched("mksquashfs made no squashfs")
    ids = _owners(file, owner_table, owners)
    block, offset = inode_table + (root >> 16), root & 0xFFFF
    raw = bytearray(_read(file, block, offset, _INODE.size))
    kind, mode, owner, group, _ = _INODE.unpack(raw)
    if kind not in _DIRECTORIES:
        raise NotPatched("the root of a squashfs is not where it is said to be")
    has_owner = uid in ids and gid in ids
    if has_owner:
        owner, group = ids.index(uid), ids.index(gid)
    _write(file, block, offset, _INODE.pack(kind, mode, owner, group, seconds))
    return has_owner


def _owners(file: BinaryIO, table: int, count: int) -> list[int]:
    """Return the numbers of owners and groups, which inodes know by their index."""
    file.seek(table)
    # The first of the pointers to blocks of them, which lie side by side.
    first = int.from_bytes(file.read(8), "little")
    raw = _read(file, first, 0, count * _OWNER.size)
    return [number for (number,) in _OWNER.iter_unpack(raw)]


def _read(file: BinaryIO, block: int, offset: int, size: int) -> bytes:
    found = b""
    for place, length in _places(file, block, offset, size):
        file.seek(place)
        found += file.read(length)
    return found


def _write(file: BinaryIO, block: int, offset: int, data: bytes) -> None:
    for place, length in list(_places(file, block, offset, len(data))):
        file.seek(place)
        file.write(data[:length])
        data = data[length:]


def _places(
    file: BinaryIO, block: int, offset: int, size: int
) -> list[tuple[int, int]]:
    """Return where bytes of metadata lie; they may run on into the next blocks."""
    places = []
    while size:
        file.seek(block)
        length = int.from_bytes(file.read(2), "little")
        if not length & _UNCOMPRESSED:
            raise NotPatched("a table of a squashfs is compressed")
        here = min(size, _METADATA_BYTES - offset)
        places.append((block + 2 + offset, here))
        block, offset, size = block + 2 + _METADATA_BYTES, 0, size - here
    return places
