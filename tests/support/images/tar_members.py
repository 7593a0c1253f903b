"""The members of tars in memory, with their contents."""

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from workers.images.tar.reader import REGULAR, Member, TarReader


def read(data: bytes, block: int = 1 << 20) -> list[tuple[Member, bytes]]:
    """Return the members of a tar with their contents."""
    reader = TarReader(BlockStream(data, block))
    return [
        (member, reader.read_content(member) if member.kind == REGULAR else b"")
        for member in reader
    ]


def read_one(entry: bytes) -> tuple[Member, bytes]:
    [result] = read(tars.tar(entry))
    return result
