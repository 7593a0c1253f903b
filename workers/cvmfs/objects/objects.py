"""Objects: how content is packed for the storage, and read back with proof.

Every object we write is a zlib stream (RFC 1950). Any valid one is readable for every
client, so the compressor is ISA-L's at its level 2: fifteen times as fast as zlib's
level 6, which the C++ tools use, for a ninth more bytes; its level 3 would save 1.5 %
of them and take 1.6 times as long. Two things follow from a hash over *stored* bytes:
the same content must always go through the same code with the same level to be
recognised as the same object, and an object can be checked without decompressing it.

Source: cvmfs-format.md section 2.
"""

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from isal import isal_zlib

from workers.cvmfs.errors import Damaged, Malformed, StorageFailed
from workers.cvmfs.storage.storage import ObjectSource, Storage, reads_at_once
from workers.cvmfs.values.dirent import STORED, ZLIB, Chunk, Content
from workers.cvmfs.values.hash import Algorithm, ContentHash, Kind, new_hasher

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DEFAULT_LEVEL = 2
BLOCK_BYTES = 256 * 1024
MAX_DATABASE_BYTES = 1 << 30
"""No catalog, history or certificate is larger; SQLite's own limit in memory."""

_IsalError = cast("type[Exception]", isal_zlib.IsalError)  # its stub says: an instance

_PACKED_AGAIN = frozenset((Kind.CERTIFICATE, Kind.METAINFO))
"""What a stratum 1 does not copy as it is: it stores what its own zlib makes of the
content under the name that we gave, so those have to be the same bytes, or no client
believes the replica (cvmfs/swissknife_pull.cc, ``StoreBuffer``)."""
_STOCK_LEVEL = 6

EMPTY_OBJECT = bytes.fromhex("789c030000000001")
"""The empty file as every CernVM-FS tool stores it, not as ISA-L would: markers of
nested catalogs name it, so it is shared with what other tools write."""
EMPTY_HASH = ContentHash.of(EMPTY_OBJECT)
EMPTY_CONTENT = Content(EMPTY_HASH.digest, 0)


def pack(content: bytes, level: int = DEFAULT_LEVEL) -> bytes:
    """Compress content into the bytes of an object."""
    if not content:
        return EMPTY_OBJECT
    packed: bytes = isal_zlib.compress(content, level)
    return packed


def unpack(stored: bytes, limit: int = MAX_DATABASE_BYTES) -> bytes:
    """Decompress the bytes of an object.

    Raises:
        Malformed: not one whole zlib stream, or more than ``limit`` bytes of content.
    """
    decompressor = isal_zlib.decompressobj()
    try:
        content: bytes = decompressor.decompress(stored, limit + 1)
    except _IsalError as error:
        raise Malformed(f"not a zlib stream: {error}") from error
    if len(content) > limit:
        raise Malformed(f"object holds more than {limit} bytes")
    if not decompressor.eof or decompressor.unused_data:
        raise Malformed("object is not exactly one zlib stream")
    return content


def get_object(
    source: ObjectSource, content_hash: ContentHash, kind: Kind, *, size: int = 0
) -> bytes:
    """Fetch a compressed object, prove it and return its content.

    Args:
        source: the storage.
        content_hash: of the stored bytes.
        kind: the suffix of its name.
        size: of the content in bytes; 0 if not known.

    Raises:
        NotFound: it is not there.
        Damaged: it is not what its hash or size says.
    """
    path = content_hash.path(kind)
    stored = source.get(path)
    if ContentHash.of(stored, content_hash.algorithm) != content_hash:
        raise Damaged(f"{path} does not have the content its name says")
    try:
        content = unpack(stored, size or MAX_DATABASE_BYTES)
    except Malformed as error:
        raise Damaged(f"{path}: {error}") from error
    if size and len(content) != size:
        raise Damaged(f"{path} holds {len(content)} bytes, expected {size}")
    return content


def put_object(
    storage: Storage, content: bytes, kind: Kind, level: int = DEFAULT_LEVEL
) -> tuple[ContentHash, bool]:
    """Compress and store an object.

    Returns:
        Its hash, and whether it was new to the storage.
    """
    if kind in _PACKED_AGAIN:
        stored = zlib.compress(content, _STOCK_LEVEL)
    else:
        stored = pack(content, level)
    content_hash = ContentHash.of(stored)
    return content_hash, storage.put(content_hash.path(kind), stored)


class _Piece(NamedTuple):
    """One object of a file: its name in the storage and its uncompressed size."""

    content_hash: ContentHash
    kind: Kind
    size: int


def open_content(source: ObjectSource, content: Content) -> BinaryIO:
    """Open a regular file's content as a stream in bounded memory.

    The stream raises ``Damaged`` (or ``NotFound``) where its objects are not what the
    catalog says. A hash proves all of an object or nothing, so bytes may have been
    handed out before; but never all of them.
    """
    blocks = _unpacked(source, content.compression, _pieces(content))
    return io.BufferedReader(_ContentStream(blocks), BLOCK_BYTES)


def read_content(source: ObjectSource, content: Content) -> bytes:
    """Return a regular file's content, proven."""
    if content.hash is None:
        return b"".join(read_chunks(source, content, content.chunks))
    return b"".join(_unpacked(source, content.compression, _pieces(content)))


def read_chunks(
    source: ObjectSource, content: Content, chunks: Sequence[Chunk]
) -> list[bytes]:
    """Return some chunks of a file, proven; in a bucket, many are read at once."""

    def read(piece: _Piece) -> bytes:
        return b"".join(_unpacked_piece(source, content.compression, piece))

    pieces = _pieces(content._replace(hash=None, chunks=tuple(chunks)))
    threads = min(len(pieces), reads_at_once(source))
    if threads <= 1:
        return list(map(read, pieces))
    with ThreadPoolExecutor(threads, "chunk") as executor:
        return list(executor.map(read, pieces))


def _pieces(content: Content) -> Sequence[_Piece]:
    try:
        algorithm = Algorithm(content.algorithm)
    except ValueError as error:
        raise Malformed(f"unknown hash algorithm {content.algorithm}") from error
    if content.hash is not None:
        whole = ContentHash(content.hash, algorithm)
        return [_Piece(whole, Kind.BULK, content.size)]
    return [
        _Piece(ContentHash(chunk.hash, algorithm), Kind.PARTIAL, chunk.size)
        for chunk in content.chunks
    ]


def _unpacked(
    source: ObjectSource, compression: int, pieces: Sequence[_Piece]
) -> Iterator[bytes]:
    """Yield the content of consecutive objects; each block is at most 256 KiB."""
    for piece in pieces:
        yield from _unpacked_piece(source, compression, piece)


def _unpacked_piece(
    source: ObjectSource, compression: int, piece: _Piece
) -> Iterator[bytes]:
    path = piece.content_hash.path(piece.kind)
    if compression not in (ZLIB, STORED):
        raise Malformed(f"{path}: unknown compression {compression}")
    hasher = new_hasher(piece.content_hash.algorithm)
    left = piece.size
    # The last block is kept back until the object is proven: whoever has received
    # every byte has received the right ones.
    kept = b""
    with source.open(path) as file:
        blocks = _hashed_blocks(file, hasher.update)
        if compression == ZLIB:
            blocks = _inflated(blocks, path)
        for block in blocks:
            left -= len(block)
            if left < 0:
                break
            if kept:
                yield kept
            kept = block
    if left != 0:
        raise Damaged(f"{path} does not hold the {piece.size} bytes of its entry")
    if hasher.digest() != piece.content_hash.digest:
        raise Damaged(f"{path} does not have the content its name says")
    yield kept


def _hashed_blocks(file: BinaryIO, update: Callable[[bytes], None]) -> Iterator[bytes]:
    while True:
        try:
            block = file.read(BLOCK_BYTES)
        except OSError as error:
            raise StorageFailed(f"reading an object: {error}") from error
        if not block:
            return
        update(block)
        yield block


def _inflated(blocks: Iterator[bytes], path: str) -> Iterator[bytes]:
    """Decompress one zlib stream, however much a single block of it expands to."""
    decompressor = isal_zlib.decompressobj()
    for stored in blocks:
        pending = stored
        while True:
            try:
                content = decompressor.decompress(pending, BLOCK_BYTES)
            except _IsalError as error:
                raise Damaged(f"{path} is not a zlib stream: {error}") from error
            if content:
                yield content
            pending = decompressor.unconsumed_tail
            if len(content) < BLOCK_BYTES and not pending:
                break
        if decompressor.unused_data:
            raise Damaged(f"{path} has bytes after its zlib stream")
    if not decompressor.eof:
        raise Damaged(f"{path} is cut short")


class _ContentStream(io.RawIOBase):
    """The generator of blocks as a raw stream, for ``io.BufferedReader``."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while not self._pending:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._pending = memoryview(block)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._pending))
        view[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def close(self) -> None:
        # Dropping the generator closes the file it has open.
        self._blocks = iter(())
        super().close()
