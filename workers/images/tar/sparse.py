"""Where the data of sparse files lies, in the four ways that GNU tar has said it.

Source: GNU tar manual, "Storing Sparse Files": old GNU keeps the map in the header and
in blocks behind it, PAX 0.0 and 0.1 keep it in records, PAX 1.0 in front of the data.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from workers.images.tar.exact_reader import ExactReader
from workers.images.tar.fields import (
    SPARSE_MAP,
    DamagedTar,
    Records,
    checked_size,
    parse_decimal,
    parse_number,
)

_BLOCK = 512
# Of one file, empty ones too: 4 MB of numbers, and a third of a second.
_MOST_EXTENTS = 1 << 18
_LONGEST_LINE = 21  # a number and its newline
_NUMBER = 12  # width of one in old GNU maps
_HOLE = bytes(1 << 20)


class SparseMap(NamedTuple):
    """Where the data of one file lies.

    Attributes:
        size: of the file, holes included.
        data: bytes that are no holes.
        places: offset and length of each extent in turn, in order; no empty ones.
        stated: how many extents the tar states, those that are empty included, as GNU
            tar ends a map with one. Each of them costs time.
    """

    size: int
    data: int
    places: "array[int]"
    stated: int


def is_pax_sparse(records: Records) -> bool:
    """Whether the records say that the entry is a sparse file."""
    return (
        SPARSE_MAP in records
        or b"GNU.sparse.size" in records
        or records.get(b"GNU.sparse.major") == b"1"
    )


def old_gnu_extents(header: bytes, source: ExactReader) -> SparseMap:
    """Return the map of an old GNU sparse file.

    Reads the blocks between header and data. The header holds four extents from byte
    386 on, each further block 21.
    """
    return _map(parse_number(header[483:495]), _numbers_in_blocks(header, source))


def extents_in_records(records: Records) -> SparseMap:
    """Return the map that PAX 0.0 and 0.1 keep in records."""
    size = parse_decimal(records.get(b"GNU.sparse.size", b""))
    parts = re.finditer(rb"[^,]+", records.get(SPARSE_MAP, b""))
    return _map(size, (parse_decimal(part.group()) for part in parts))


def extents_in_data(
    records: Records, source: ExactReader, stored: int
) -> tuple[SparseMap, int]:
    """Read the map that PAX 1.0 puts in front of the data, in decimal lines.

    Args:
        records: of the entry.
        source: stands at the beginning of the entry's data.
        stored: length of the data, map included.

    Returns:
        The map, and how many bytes it took.
    """
    size = parse_decimal(records.get(b"GNU.sparse.realsize", b""))
    lines = _Lines(source, stored)
    numbers = lines.numbers()
    extents = next(numbers)
    if extents > _MOST_EXTENTS:
        raise _too_many()
    found = _map(size, (next(numbers) for _ in range(2 * extents)))
    return found, lines.taken


def filled(extents: SparseMap, source: ExactReader) -> Iterator[bytes]:
    """Yield the content of a sparse file in blocks of a megabyte at most."""
    position = 0
    for offset, length in chain(_pairs(extents.places), [(extents.size, 0)]):
        for start in range(position, offset, len(_HOLE)):
            yield _HOLE[: offset - start]
        for start in range(0, length, len(_HOLE)):
            yield source.take(min(len(_HOLE), length - start))
        position = offset + length


class _Lines:
    """The decimal lines of a map; they begin a block, and end with one.

    Attributes:
        taken: bytes so far, whole blocks.
    """

    def __init__(self, source: ExactReader, stored: int) -> None:
        self._source = source
        self._stored = stored
        self.taken = 0

    def numbers(self) -> Iterator[int]:
        """Yield numbers for as long as somebody asks."""
        rest = b""
        while len(rest) <= _LONGEST_LINE and self.taken + _BLOCK <= self._stored:
            self.taken += _BLOCK
            *lines, rest = (rest + self._source.take(_BLOCK)).split(b"\n")
            yield from map(parse_decimal, lines)
        raise DamagedTar("tar: the map of a sparse file has no end")


def _numbers_in_blocks(header: bytes, source: ExactReader) -> Iterator[int]:
    yield from _numbers_in(header[386:482])
    more, extents = header[482], 4
    while more:
        extents += 21
        if extents > _MOST_EXTENTS:  # also where none of them says anything
            raise _too_many()
        block = source.take(_BLOCK)
        yield from _numbers_in(block[:504])
        more = block[504]


def _numbers_in(field: bytes) -> Iterator[int]:
    for at in range(0, len(field), 2 * _NUMBER):
        if field[at : at + _NUMBER].strip(b"\0 "):
            yield parse_number(field[at : at + _NUMBER])
            yield parse_number(field[at + _NUMBER : at + 2 * _NUMBER])


def _map(size: int, numbers: Iterable[int]) -> SparseMap:
    """Return the map that numbers say, offset and length of each extent in turn."""
    checked_size(size, "a sparse file")
    places: array[int] = array("q")
    stated = data = end = 0
    for offset, length in _pairs(numbers):
        stated += 1
        if stated > _MOST_EXTENTS:
            raise _too_many()
        if offset < end or length < 0 or offset + length > size:
            raise DamagedTar("tar: the extents of a sparse file do not fit it")
        end = offset + length
        if length:
            places.extend((offset, length))
            data += length
    return SparseMap(size, data, places, stated)


def _pairs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    rest = iter(numbers)
    for first in rest:
        second = next(rest, None)
        if second is None:
            raise DamagedTar("tar: the map of a sparse file lacks a number")
        yield first, second


def _too_many() -> DamagedTar:
    return DamagedTar(
        f"tar: a sparse file of more than {_MOST_EXTENTS} extents, all that are read"
    )
