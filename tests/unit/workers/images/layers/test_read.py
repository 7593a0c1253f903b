"""One layer, from the bytes of its tar to a tree."""

import gzip
import hashlib
import stat
from collections.abc import Callable

import pytest
from isal import igzip

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from tests.support.images.layer_trees import entry_at, layer, layer_of, names
from tests.support.images.oci import (
    Layer,
    gzip_layer,
    gzip_members_layer,
    plain_layer,
    zstd_frames_layer,
    zstd_layer,
)
from tests.support.repositories.memory_sink import MemorySink
from workers.cvmfs import Content, Dirent
from workers.images.layers import read as layer_module
from workers.images.layers.budget import Budget
from workers.images.layers.content import ContentPool
from workers.images.layers.read import read_layer
from workers.images.rejected import ImageRejected
from workers.images.tar.fields import DamagedTar

MEBIBYTE = 1 << 20


def test_the_root_has_what_its_member_says() -> None:
    for name in (b"./", b".", b"/"):  # tar, tar, Kaniko
        read = layer(tars.directory(name, mode=0o700, uid=3))
        assert read.tree.root == Dirent(stat.S_IFDIR | 0o700, uid=3)
        assert b"" not in read.implied


def test_the_same_place_has_one_name_however_it_is_written() -> None:
    read = layer(
        tars.file(b"./a/b"),
        tars.file(b"a//c"),
        tars.directory(b"a/./d/"),
        tars.file(b".e"),
    )
    assert names(read) == {b"a", b"a/b", b"a/c", b"a/d", b".e"}


def test_names_are_bytes() -> None:
    name = bytes(range(1, 256)).replace(b"/", b"")[:250]
    assert names(layer(tars.pax({b"path": name}, tars.file(b"x")))) == {name}


def test_host_labels_and_overlay_marks_are_dropped_and_other_xattrs_kept() -> None:
    values = {
        b"security.selinux": b"label",
        b"system.nfs4_acl": b"list",
        b"trusted.overlay.opaque": b"y",
        b"user.overlay.whiteout": b"y",
        b"security.capability": b"\1\0\0\2",
        b"user.empty": b"",
        b"trusted.long": b"v" * 65536,
    }
    kept = entry_at(layer(tars.xattrs(values, tars.file(b"a"))), b"a").xattrs
    assert dict(kept) == {
        name: values[name]
        for name in (b"security.capability", b"user.empty", b"trusted.long")
    }


def test_content_is_stored_whole_or_in_pieces() -> None:
    sink = MemorySink(piece_size=1000)
    small, large = b"s" * 1000, b"".join(b"%d," % n for n in range(1000))
    read = layer(tars.file(b"small", small), tars.file(b"large", large), sink=sink)
    one, other = entry_at(read, b"small").content, entry_at(read, b"large").content
    assert one is not None
    assert other is not None
    assert (sink.read(one), sink.read(other)) == (small, large)
    assert not one.chunks
    assert [chunk.size for chunk in other.chunks] == [1000, 1000, 1000, 890]


def test_contents_meet_their_files_in_any_mix_of_sizes() -> None:
    sink = MemorySink(piece_size=50)
    contents = {b"%d" % n: b"%d " % n * (n * 7 % 40) for n in range(400)}
    entries = [
        entry
        for name, data in contents.items()
        for entry in (tars.file(name, data), tars.whiteout(b"w" + name))
    ]
    read = layer(*entries, sink=sink)
    for name, data in contents.items():
        content = entry_at(read, name).content
        assert content is not None
        assert sink.read(content) == data


def test_more_members_than_may_wait_are_read_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_module, "_MEMBERS_WAITING", 10)
    sink = MemorySink()
    read = layer(
        *(tars.file(b"%d" % (n % 300), b"%d" % n) for n in range(1000)), sink=sink
    )
    for n in range(700, 1000):
        content = entry_at(read, b"%d" % (n % 300)).content
        assert content is not None
        assert sink.read(content) == b"%d" % n


def test_the_layer_tells_its_size_its_entries_and_its_diff_id() -> None:
    data = tars.tar(
        tars.file(b"a", b"12345"),
        tars.old_gnu_sparse(b"s", 1000, [(0, b"1")]),
        tars.whiteout(b"w"),
        tars.directory(b"d"),
    )
    for blob in (data, gzip.compress(data), gzip.compress(data + bytes(9999))):
        read = layer_of(blob)
        assert (read.size, read.entries) == (1005, 4)
    assert layer_of(data).diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(
    "pack",
    [plain_layer, gzip_layer, gzip_members_layer, zstd_layer, zstd_frames_layer],
)
def test_a_layer_is_the_same_however_it_is_packed(
    pack: Callable[[bytes], Layer],
) -> None:
    data = tars.tar(
        *(tars.file(b"d/%d" % n, b"%d" % n * n, mtime=n) for n in range(200)),
        tars.hard_link(b"link", b"d/7"),
        tars.whiteout(b"gone"),
    )
    packed, sink = pack(data), MemorySink()
    read = layer_of(packed.blob, sink)
    assert read == layer_of(data)
    assert read.diff_id == packed.diff_id
    content = entry_at(read, b"d/150").content
    assert content is not None
    assert sink.read(content) == b"150" * 150


def test_an_empty_layer_is_a_layer() -> None:
    for blob in (b"", bytes(1024), gzip.compress(bytes(10240))):
        assert names(layer_of(blob)) == set()


# Limits.


def exhausted(match: str, size: int, files: int, blob: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer_of(blob, budget=Budget(size, files))


def test_a_bomb_behind_the_end_of_the_tar_is_refused() -> None:
    bomb = igzip.compress(tars.tar(tars.file(b"a")) + bytes(64 * MEBIBYTE))
    exhausted("unpack to far more", 1000, 9, bomb)


def test_a_bomb_in_an_entry_of_unknown_type_is_refused() -> None:
    bomb = igzip.compress(tars.tar(tars.member(b"a", b"V", bytes(64 * MEBIBYTE))))
    exhausted("unpack to far more", 1000, 9, bomb)


def test_a_million_tiny_records_are_refused() -> None:
    records = b"6 a=b\n" * 1_000_000
    with pytest.raises(DamagedTar, match="extended header"):
        layer(tars.member(b"x", b"x", records))


def test_many_tiny_records_in_many_headers_take_no_memory() -> None:
    records = b"".join(b"9 %04x=b\n" % n for n in range(10_000))
    header = tars.member(b"x", b"x", records)
    read = layer(*([header + tars.file(b"a")] * 20))
    assert names(read) == {b"a"}


# What goes wrong elsewhere.


class FailingSink(MemorySink):
    def put_bytes(self, data: bytes) -> Content:
        raise OSError("the disk is full")


def test_what_the_sink_raises_ends_the_reading() -> None:
    blob = BlockStream(tars.tar(tars.file(b"a", b"1")))
    with (
        pytest.raises(OSError, match="the disk is full"),
        ContentPool(FailingSink(), threads=1) as pool,
    ):
        read_layer(blob, pool, Budget(9, 9))


def test_what_the_blob_raises_ends_the_reading() -> None:
    class BrokenBlob:
        def read(self, _size: int, /) -> bytes:
            raise ConnectionError("the registry hung up")

    with (
        pytest.raises(ConnectionError, match="hung up"),
        ContentPool(MemorySink(), threads=1) as pool,
    ):
        read_layer(BrokenBlob(), pool, Budget(9, 9))
