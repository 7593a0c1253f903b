"""The root of a squashfs gets its owner and time, and no other file is touched.

That the kernel and unsquashfs read it so is tested where mksquashfs is run.
"""

import io
import struct

import pytest

from workers.archives.squashfs_root import NotPatched, write_root

MAGIC = 0x73717368
METADATA = 8192
DIRECTORY, MODE = 1, 0o755


def block(data: bytes, *, is_compressed: bool = False) -> bytes:
    """Return a block of metadata with its header."""
    header = len(data) | (0 if is_compressed else 0x8000)
    return struct.pack("<H", header) + data


def squashfs(
    owners: tuple[int, ...] = (0, 1000),
    *,
    kind: int = DIRECTORY,
    before: int = 40,
    magic: int = MAGIC,
    is_compressed: bool = False,
) -> io.BytesIO:
    """Return what of a squashfs matters here: its root inode after so many bytes."""
    inode = struct.pack("<4HI", kind, MODE, 0, 0, 7)
    inodes = bytes(before) + inode + bytes(16)
    blocks = [inodes[at : at + METADATA] for at in range(0, len(inodes), METADATA)]
    start = 96  # after the superblock, of which the end does not matter
    table = b"".join(block(one, is_compressed=is_compressed) for one in blocks)
    ids = block(struct.pack(f"<{len(owners)}I", *owners))
    ids_at = start + len(table)
    root = (before // METADATA * (METADATA + 2)) << 16 | before % METADATA
    superblock = struct.pack(
        "<5I6H5Q",
        *(magic, 1, 0, 1 << 17, 0),
        *(1, 17, 0, len(owners), 4, 0),
        *(root, 0, ids_at + len(ids), 0, start),
    )
    return io.BytesIO(
        superblock.ljust(start, b"\0") + table + ids + struct.pack("<Q", ids_at)
    )


def inode_of(file: io.BytesIO, before: int = 40) -> tuple[int, ...]:
    """Return type, mode, index of owner, of group, and time."""
    data = file.getvalue()[96:]
    blocks = [data[at + 2 : at + 2 + METADATA] for at in (0, METADATA + 2)]
    return struct.unpack_from("<4HI", b"".join(blocks), before)


def test_the_root_gets_owner_group_and_time() -> None:
    file = squashfs()
    assert write_root(file, 1000, 0, 1_800_000_000)
    assert inode_of(file) == (DIRECTORY, MODE, 1, 0, 1_800_000_000)


def test_nothing_else_is_changed() -> None:
    file = squashfs()
    before = file.getvalue()
    write_root(file, 1000, 0, 8)
    after = file.getvalue()
    changed = [at for at, byte in enumerate(before) if after[at] != byte]
    assert changed == [96 + 2 + 40 + 4, 96 + 2 + 40 + 8]
    assert len(after) == len(before)


@pytest.mark.parametrize(("uid", "gid"), [(5, 0), (0, 5)])
def test_an_owner_of_nothing_else_has_no_number_but_the_time_is_set(
    uid: int, gid: int
) -> None:
    file = squashfs()
    assert not write_root(file, uid, gid, 9)
    assert inode_of(file) == (DIRECTORY, MODE, 0, 0, 9)


@pytest.mark.parametrize("before", [METADATA - 5, METADATA - 16, METADATA])
def test_an_inode_may_lie_in_two_blocks(before: int) -> None:
    file = squashfs(before=before)
    assert write_root(file, 1000, 1000, 9)
    assert inode_of(file, before) == (DIRECTORY, MODE, 1, 1, 9)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (squashfs(magic=MAGIC + 1), "no squashfs"),
        (squashfs(kind=2), "is not where it is said to be"),
        (squashfs(is_compressed=True), "is compressed"),
    ],
)
def test_another_sort_of_file_is_refused_and_left_as_it_was(
    file: io.BytesIO, told: str
) -> None:
    before = file.getvalue()
    with pytest.raises(NotPatched, match=told):
        write_root(file, 1000, 0, 9)
    assert file.getvalue() == before
