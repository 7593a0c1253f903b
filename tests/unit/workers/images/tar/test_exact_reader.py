"""Of a stream exactly so much is read as was asked for."""

import pytest

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from tests.support.images.tar_members import read
from workers.images.tar.exact_reader import ExactReader
from workers.images.tar.reader import TarReader


@pytest.mark.parametrize("block", [1, 7, 511, 512, 513, 4096])
def test_it_does_not_matter_in_what_blocks_the_stream_comes(block: int) -> None:
    data = tars.tar(
        tars.gnu_name(b"n" * 300, tars.file(b"x", b"1" * 1000)),
        tars.pax({b"mtime": b"1.5"}, tars.file(b"y", b"2" * 512)),
        tars.directory(b"d/"),
        tars.old_gnu_sparse(b"z", 9000, [(4096, b"3" * 100)]),
    )
    assert read(data, block) == read(data)


def test_content_that_is_read_in_part_is_skipped_to_its_end() -> None:
    data = tars.tar(tars.file(b"a", b"1" * 3000), tars.file(b"b", b"2"))
    reader = TarReader(BlockStream(data))
    names = []
    for member in reader:
        names.append(member.name)
        for _ in reader.pieces(member, 100):
            break
    assert names == [b"a", b"b"]


def test_padding_may_end_early() -> None:
    reader = ExactReader(BlockStream(b"12345678", block=3))
    reader.skip_padding(2)
    assert reader.take(1) == b"3"
    reader.skip_padding(99)
    assert reader.take_or_end(1) == b""


def test_pieces_have_the_length_asked_for_but_the_last() -> None:
    reader = TarReader(BlockStream(tars.tar(tars.file(b"a", b"12345678"))))
    [pieces] = [list(reader.pieces(member, 3)) for member in reader]
    assert pieces == [b"123", b"456", b"78"]
