"""The entries of a directory as a few bytes, while nobody looks at them.

A ``Dirent`` with its content takes 450 bytes of memory, and most of what it says is
said by the entry beside it, too: owner, times, that it has no attributes. Column by
column, what a whole directory has in common stands there once, and an entry takes
some 60 bytes, 20 of them the hash of its content.

For the memory of one process only: ``marshal`` is fast, but neither the same in every
Python nor to be fed with what others wrote.
"""

import marshal
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat, starmap
from typing import Any, cast

from workers.cvmfs.values.dirent import Chunk, Content, Dirent
from workers.cvmfs.values.hash import DIGEST_SIZE

_CONTENT = Dirent._fields.index("content")
_TARGET, _XATTRS = map(Dirent._fields.index, ("target", "xattrs"))
_HASH = Content._fields.index("hash")
_CHUNKS = Content._fields.index("chunks")

# Their own ways to be made out of a tuple are functions in Python, which would take
# longer than all the rest.
_dirent = cast("Callable[[tuple[Any, ...]], Dirent]", partial(tuple.__new__, Dirent))
_content = cast("Callable[[tuple[Any, ...]], Content]", partial(tuple.__new__, Content))

_HEAD = struct.Struct("=IQ")  # number of entries, and what they weigh
_WEIGHED_BYTES = 256

_Column = Sequence[Any]


def pack(entries: Mapping[bytes, Dirent]) -> bytes:
    """Return the entries of a directory as bytes; of an empty one ``b""``."""
    if not entries:
        return b""
    columns: list[_Column] = list(zip(*entries.values(), strict=True))
    contents = columns[_CONTENT]
    present = [content for content in contents if content is not None]
    columns[_CONTENT] = [content is not None for content in contents]
    folded: list[Any] = list(map(_folded, columns))
    folded_contents: Any = _folded_contents(present) if present else None
    packed = marshal.dumps((_joined_names(tuple(entries)), folded, folded_contents))
    head = _HEAD.pack(len(entries), _weight(columns[_TARGET], columns[_XATTRS]))
    return head + packed


def weight(entries: Mapping[bytes, Dirent]) -> int:
    """Return what the entries of a directory weigh in a catalog.

    Each of them one, and their targets and attributes by how long they are.
    """
    values = entries.values()
    return _weight([one.target for one in values], [one.xattrs for one in values])


def packed_weight(data: bytes) -> int:
    """Return the weight of what ``pack`` was given, without unpacking it."""
    found: int = _HEAD.unpack_from(data)[1] if data else 0
    return found


def _weight(targets: _Column, xattrs: _Column) -> int:
    size = sum(map(len, targets))
    size += sum(
        len(name) + len(value)
        for pairs in filter(None, xattrs)
        for name, value in pairs
    )
    return len(targets) + size // _WEIGHED_BYTES


def packed_count(data: bytes) -> int:
    """Return how many entries ``pack`` was given, without unpacking them."""
    count: int = _HEAD.unpack_from(data)[0] if data else 0
    return count


def unpack(data: bytes) -> dict[bytes, Dirent]:
    """Return the entries that ``pack`` was given, in the same order."""
    if not data:
        return {}
    packed = memoryview(data)[_HEAD.size :]
    names, folded, contents = marshal.loads(packed)  # noqa: S302 - our own bytes
    if isinstance(names, bytes):
        names = names.split(b"/")
    columns = list(map(_unfolded, folded))
    if contents is None:
        columns[_CONTENT] = repeat(None)
    elif folded[_CONTENT] == [True]:
        columns[_CONTENT] = _unfolded_contents(contents)
    else:
        present = _unfolded_contents(contents)
        columns[_CONTENT] = [
            next(present) if is_present else None for is_present in folded[_CONTENT]
        ]
    # The names come first: of columns that are folded only they know the end.
    return dict(zip(names, map(_dirent, zip(*columns, strict=False)), strict=False))


def _folded_contents(contents: Sequence[Content]) -> list[Any]:
    columns: list[_Column] = list(zip(*contents, strict=True))
    hashes, chunks = columns[_HASH], columns[_CHUNKS]
    folded: list[Any] = list(map(_folded, columns))
    if None not in hashes and set(map(len, hashes)) == {DIGEST_SIZE}:
        folded[_HASH] = b"".join(hashes)
    if any(chunks):
        # Only plain tuples can be marshalled.
        folded[_CHUNKS] = tuple(tuple(map(tuple, pieces)) for pieces in chunks)
    return folded


def _unfolded_contents(columns: Sequence[Any]) -> Iterator[Content]:
    """Yield contents; without an end if all columns are folded."""
    hashes, chunks = columns[_HASH], columns[_CHUNKS]
    unfolded = list(map(_unfolded, columns))
    if isinstance(hashes, bytes):
        unfolded[_HASH] = [
            hashes[begin : begin + DIGEST_SIZE]
            for begin in range(0, len(hashes), DIGEST_SIZE)
        ]
    if isinstance(chunks, tuple):
        unfolded[_CHUNKS] = [tuple(starmap(Chunk, pieces)) for pieces in chunks]
    return map(_content, zip(*unfolded, strict=False))


def _folded(column: _Column) -> _Column:
    """Return a column as it is marshalled: a list of one if all values are the same."""
    first = column[0]
    return [first] if column.count(first) == len(column) else tuple(column)


def _unfolded(folded: _Column) -> Iterable[Any]:
    return repeat(folded[0]) if isinstance(folded, list) else folded


def _joined_names(names: tuple[bytes, ...]) -> bytes | tuple[bytes, ...]:
    """Return names in one piece, unless one of them has a slash and is none."""
    joined = b"/".join(names)
    return joined if joined.count(b"/") == len(names) - 1 else names
