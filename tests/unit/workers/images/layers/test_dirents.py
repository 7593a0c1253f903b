"""A member of a layer becomes an entry, or is refused for what Linux does not have."""

import os
import stat

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import entry_at, layer
from tests.support.repositories.memory_sink import MemorySink
from workers.cvmfs import Dirent
from workers.images.rejected import ImageRejected


def refused(match: str, *entries: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer(*entries)


@pytest.mark.parametrize("kind", [b"V", b"M", b"D", b"N", b"A", b"\xff"])
def test_unknown_types_are_refused(kind: bytes) -> None:
    refused("the unknown type", tars.member(b"x", kind))


@pytest.mark.parametrize(
    ("number", "owner"),
    [(-1, 0), (-2, 4_294_967_294), (-(1 << 31), 1 << 31), (0xFFFF_FFFF, 0)],
)
def test_owners_are_what_linux_makes_of_their_numbers(number: int, owner: int) -> None:
    """As docker, podman, containerd and umoci leave it to lchown(2)."""
    records = {b"uid": b"%d" % number, b"gid": b"%d" % number}
    for entry in (
        tars.file(b"x", uid=number, gid=number),
        tars.pax(records, tars.file(b"x")),
    ):
        dirent = entry_at(layer(entry), b"x")
        assert (dirent.uid, dirent.gid) == (owner, owner)


@pytest.mark.parametrize("number", [1 << 32, 1 << 60, -(1 << 31) - 1, -(1 << 60)])
def test_owners_that_linux_does_not_have_are_refused(number: int) -> None:
    refused("the owner", tars.file(b"x", uid=number))
    refused("the owner", tars.file(b"x", gid=number))


def test_times_beyond_64_bits_are_refused() -> None:
    refused("the time", tars.pax({b"mtime": b"9223372036854775808"}, tars.file(b"x")))
    refused(
        "the time", tars.pax({b"mtime": b"-9223372036854775808.5"}, tars.file(b"x"))
    )
    refused("the time", tars.file(b"x", mtime=1 << 80))


@pytest.mark.parametrize("number", [(4096, 0), (0, 1 << 20), (1 << 50, 0), (-1, 0)])
def test_device_numbers_that_linux_does_not_have_are_refused(
    number: tuple[int, int],
) -> None:
    refused("the device number", tars.character_device(b"x", *number))


@pytest.mark.parametrize("target", [b"", b"t" * 4096, b"a\0b"])
def test_symlinks_that_lead_nowhere_at_all_are_refused(target: bytes) -> None:
    entry = tars.symlink(b"x", b"")
    refused("the target", tars.pax({b"linkpath": target}, entry))


@pytest.mark.parametrize(
    ("name", "size"),
    [(b"", 1), (b"user." + b"n" * 251, 1), (b"a\0b", 1), (b"n", 65537)],
)
def test_xattrs_that_linux_does_not_have_are_refused(name: bytes, size: int) -> None:
    refused("attribute", tars.xattrs({name: b"v" * size}, tars.file(b"x")))


def test_an_entry_has_all_that_its_member_says() -> None:
    entry = tars.file(b"a", b"data", mode=0o4711, uid=4_000_000_000, gid=5, mtime=-9)
    entry = tars.pax({b"mtime": b"-8.5", b"SCHILY.xattr.user.x": b"y"}, entry)
    sink = MemorySink()
    dirent = entry_at(layer(entry, sink=sink), b"a")
    assert dirent == Dirent(
        stat.S_IFREG | 0o4711,
        uid=4_000_000_000,
        gid=5,
        mtime=-9,
        mtime_ns=500_000_000,
        content=sink.put_bytes(b"data"),
        xattrs=((b"user.x", b"y"),),
    )


def test_every_type_of_file_has_its_type_bits() -> None:
    read = layer(
        tars.file(b"file"),
        tars.directory(b"directory"),
        tars.symlink(b"symlink", b"to/where"),
        tars.character_device(b"character", 1, 3),
        tars.block_device(b"block", 8, 1),
        tars.fifo(b"fifo"),
    )
    types = {
        name: stat.S_IFMT(entry.mode)
        for name, entry in read.tree.directories[b""].items()
    }
    assert types == {
        b"file": stat.S_IFREG,
        b"directory": stat.S_IFDIR,
        b"symlink": stat.S_IFLNK,
        b"character": stat.S_IFCHR,
        b"block": stat.S_IFBLK,
        b"fifo": stat.S_IFIFO,
    }
    assert entry_at(read, b"symlink").target == b"to/where"
    assert entry_at(read, b"character").device == os.makedev(1, 3)
    assert entry_at(read, b"block").device == os.makedev(8, 1)


def test_symlinks_have_the_permissions_that_linux_shows() -> None:
    read = layer(tars.symlink(b"s", b"t", mode=0o600))
    assert stat.S_IMODE(entry_at(read, b"s").mode) == 0o777
