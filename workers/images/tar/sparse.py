"""Where the data of sparse files lies, in the four ways that GNU tar has said it.

Source: GNU tar manual, "Storing Sparse Files": old GNU keeps the map in the header and
in blocks behind it, PAX 0.0 and 0.1 keep it in records, PAX 1.0 in front of the data.
"""

from collections.abc import Iterator, Sequence

from workers.images.tar.exact_reader import ExactReader
from workers.images.tar.fields import (
    SPARSE_MAP,
    DamagedTar,
    Records,
    parse_decimal,
    parse_number,
)

Extents = tuple[tuple[int, int], ...]

_BLOCK = 512
_MOST_EXTENTS = 1 << 20
_LONGEST_LINE = 21  # a number and its newline
_NUMBER = 12  # width of one in old GNU maps
_HOLE = bytes(1 << 20)


def is_pax_sparse(records: Records) -> bool:
    """Whether the records say that the entry is a sparse file."""
    return (
        SPARSE_MAP in records
        or b"GNU.sparse.size" in records
        or records.get(b"GNU.sparse.major") == b"1"
    )


def old_gnu_extents(header: bytes, source: ExactReader) -> tuple[Extents, int]:
    """Return the map of an old GNU sparse file and the file's real size.

    Reads the blocks between header and data. The header holds four extents from byte
    386 on, each further block 21.
    """
    numbers = _numbers_in(header[386:482])
    more = header[482]
    while more:
        if len(numbers) > 2 * _MOST_EXTENTS:
            raise DamagedTar("tar: a sparse file has too many extents")
        block = source.take(_BLOCK)
        numbers += _numbers_in(block[:504])
        more = block[504]
    size = parse_number(header[483:495])
    return _checked(numbers, size), size


def extents_in_records(records: Records) -> tuple[Extents, int]:
    """Return the map and the real size that PAX 0.0 and 0.1 keep in records."""
    parts = records.get(SPARSE_MAP, b"").split(b",")
    numbers = [parse_decimal(part) for part in parts if part]
    size = parse_decimal(records.get(b"GNU.sparse.size", b""))
    return _checked(numbers, size), size


def extents_in_data(
    records: Records, source: ExactReader, stored: int
) -> tuple[Extents, int, int]:
    """Read the map that PAX 1.0 puts in front of the data, in decimal lines.

    Args:
        records: of the entry.
        source: stands at the beginning of the entry's data.
        stored: length of the data, map included.

    Returns:
        The map, the real size, and how many bytes the map took.
    """
    text = bytearray()
    lines = 0
    wanted = None
    while wanted is None or lines < wanted:
        if len(text) + _BLOCK > stored or len(text) > _LONGEST_LINE * _MOST_EXTENTS:
            raise DamagedTar("tar: the map of a sparse file has no end")
        block = source.take(_BLOCK)
        text += block
        lines += block.count(b"\n")
        if wanted is None and lines:
            wanted = 1 + 2 * parse_decimal(bytes(text).partition(b"\n")[0])
    numbers = [parse_decimal(line) for line in bytes(text).split(b"\n")[1:wanted]]
    size = parse_decimal(records.get(b"GNU.sparse.realsize", b""))
    return _checked(numbers, size), size, len(text)


def filled(extents: Extents, size: int, source: ExactReader) -> Iterator[bytes]:
    """Yield the content of a sparse file in blocks of a megabyte at most."""
    position = 0
    for offset, length in (*extents, (size, 0)):
        for start in range(position, offset, len(_HOLE)):
            yield _HOLE[: offset - start]
        for start in range(0, length, len(_HOLE)):
            yield source.take(min(len(_HOLE), length - start))
        position = offset + length


def _numbers_in(field: bytes) -> list[int]:
    return [
        parse_number(field[at + shift : at + shift + _NUMBER])
        for at in range(0, len(field), 2 * _NUMBER)
        if field[at : at + _NUMBER].strip(b"\0 ")
        for shift in (0, _NUMBER)
    ]


def _checked(numbers: Sequence[int], size: int) -> Extents:
    if len(numbers) % 2:
        raise DamagedTar("tar: the map of a sparse file lacks a number")
    extents = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in extents:
        if offset < end or length < 0 or offset + length > size:
            raise DamagedTar("tar: the extents of a sparse file do not fit it")
        end = offset + length
    return extents
