"""Sparse files, in the four ways that tar has had for them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from tests.support.images.tar_members import read, read_one
from workers.images.tar.fields import DamagedTar
from workers.images.tar.reader import DIRECTORY, REGULAR, TarReader

MEBIBYTE = 1 << 20

Sparse = Callable[[bytes, int, tars.Extents], bytes]


@dataclass(frozen=True, slots=True)
class PaxSparse:
    version: str

    def __call__(self, name: bytes, size: int, extents: tars.Extents) -> bytes:
        return tars.pax_sparse(name, size, extents, self.version)


SPARSE = pytest.mark.parametrize(
    "sparse",
    [tars.old_gnu_sparse, PaxSparse("0.0"), PaxSparse("0.1"), PaxSparse("1.0")],
    ids=["old GNU", "PAX 0.0", "PAX 0.1", "PAX 1.0"],
)


def expanded(size: int, extents: tars.Extents) -> bytes:
    content = bytearray(size)
    for offset, data in extents:
        content[offset : offset + len(data)] = data
    return bytes(content)


@SPARSE
@pytest.mark.parametrize("extent_count", [0, 1, 4, 5, 25, 26, 100])
def test_holes_of_sparse_files_are_filled(sparse: Sparse, extent_count: int) -> None:
    extents = [(1000 * n + 17, b"%d" % n * 30) for n in range(extent_count)]
    size = 1000 * extent_count + 5000
    entry = sparse(b"dir/sparse", size, extents)
    [(member, content), (after, _)] = read(tars.tar(entry, tars.file(b"after")))
    assert (member.name, member.kind) == (b"dir/sparse", REGULAR)
    assert member.size == size
    assert content == expanded(size, extents)
    assert after.name == b"after"


@SPARSE
def test_sparse_files_come_in_pieces_too(sparse: Sparse) -> None:
    extents = [(100, b"x" * 950), (3 * MEBIBYTE, b"y" * (2 * MEBIBYTE))]
    data = tars.tar(sparse(b"s", 6 * MEBIBYTE, extents))
    reader = TarReader(BlockStream(data))
    [pieces] = [list(reader.pieces(member, 1_000_000)) for member in reader]
    assert {len(piece) for piece in pieces[:-1]} == {1_000_000}
    assert b"".join(pieces) == expanded(6 * MEBIBYTE, extents)


@SPARSE
@pytest.mark.parametrize(
    "extents",
    [
        [(0, b"12345"), (4, b"6")],
        [(10, b"1"), (0, b"2")],
        [(99, b"12")],
        [(1 << 40, b"1")],
    ],
    ids=["overlapping", "unordered", "across the end", "behind the end"],
)
def test_extents_that_cannot_be_are_refused(
    sparse: Sparse, extents: tars.Extents
) -> None:
    with pytest.raises(DamagedTar, match="do not fit"):
        read_one(sparse(b"s", 100, extents))


@SPARSE
@pytest.mark.parametrize("size", [-1, -(1 << 60), 1 << 63])
def test_real_sizes_are_neither_negative_nor_larger_than_any(
    sparse: Sparse, size: int
) -> None:
    with pytest.raises(DamagedTar):
        read_one(sparse(b"s", size, []))


def header_with_extent(offset: int, length: int) -> bytes:
    numbers = tars.number(offset, 12) + tars.number(length, 12)
    tail = numbers.ljust(97, b"\0") + tars.number(1 << 40, 12)
    return tars.member(b"s", b"S", tail=(386, tail), magic=tars.GNU)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(-1, 1), (-5, 0), (0, -1), (1 << 62, 1), (0, 1 << 62), (1 << 90, 1 << 90)],
)
def test_extents_of_impossible_numbers_are_refused(offset: int, length: int) -> None:
    with pytest.raises(DamagedTar, match="do not fit"):
        read_one(header_with_extent(offset, length))
    records = {b"GNU.sparse.map": b"%d,%d" % (offset, length), b"GNU.sparse.size": b"9"}
    with pytest.raises(DamagedTar):
        read_one(tars.pax(records, tars.file(b"s")))


@SPARSE
def test_empty_extents_are_dropped_and_counted(sparse: Sparse) -> None:
    extents = [(0, b""), (0, b"12"), (2, b""), (50, b""), (60, b"3"), (100, b"")]
    member, content = read_one(sparse(b"s", 100, extents))
    assert content == expanded(100, extents)
    assert member.extents is not None
    assert list(member.extents.places) == [0, 2, 60, 1]
    assert member.extents.stated >= len(extents)


@SPARSE
def test_files_of_more_extents_than_are_read_are_refused(
    sparse: Sparse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.images.tar.sparse._MOST_EXTENTS", 50)
    read_one(sparse(b"s", 1000, [(n, b"1") for n in range(40)]))
    for data in (b"1", b""):
        extents = [(n, data) for n in range(51)]
        with pytest.raises(DamagedTar, match="more than 50 extents"):
            read_one(sparse(b"s", 1000, extents))


def test_blocks_of_no_extents_count_as_if_they_had_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.tar.sparse._MOST_EXTENTS", 50)
    header = tars.member(b"s", b"S", tail=(482, b"\1"), magic=tars.GNU)
    more = bytes(504) + b"\1" + bytes(7)
    with pytest.raises(DamagedTar, match="more than 50 extents"):
        read_one(header + more * 3)


def test_extents_that_differ_from_the_data_are_refused() -> None:
    entry = tars.old_gnu_sparse(b"s", 100, [(0, b"12345")], size=4)
    with pytest.raises(DamagedTar, match="do not fit its data"):
        read_one(entry)


@pytest.mark.parametrize(
    "records",
    [
        {b"GNU.sparse.map": b"1"},
        {b"GNU.sparse.map": b"1,2,3", b"GNU.sparse.size": b"9"},
        {b"GNU.sparse.map": b"0,x", b"GNU.sparse.size": b"9"},
        {b"GNU.sparse.map": b"0,1"},
        {b"GNU.sparse.major": b"1"},
        {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"-1"},
    ],
)
def test_maps_that_are_no_maps_are_refused(records: dict[bytes, bytes]) -> None:
    with pytest.raises(DamagedTar):
        read_one(tars.pax(records, tars.file(b"s", b"1")))


@pytest.mark.parametrize(
    "plan", [b"", b"\n", b"x\n", b"5\n1\n", b"99999999999999999999\n", b"1\n" * 256]
)
def test_maps_in_front_of_the_data_that_have_no_end_are_refused(plan: bytes) -> None:
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"10"}
    with pytest.raises(DamagedTar):
        read_one(tars.pax(records, tars.file(b"s", tars.padded(plan))))


def test_sparse_names_of_gnu_count_before_all_others() -> None:
    entry = tars.pax_sparse(b"real", 10, [(0, b"1")], "1.0")
    assert read_one(entry)[0].name == b"real"


def test_sparse_records_mean_nothing_but_for_files() -> None:
    records = {b"GNU.sparse.map": b"0,1", b"GNU.sparse.size": b"9"}
    member, _ = read_one(tars.pax(records, tars.directory(b"d/")))
    assert (member.kind, member.extents) == (DIRECTORY, None)
