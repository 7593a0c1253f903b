"""The content store: bytes go in, what finds them again comes out.

Content is named by the hash of its stored form, so the same content is stored once, by
whomever and however often it is put.
"""

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from isal import isal_zlib

from workers.cvmfs.errors import Damaged
from workers.cvmfs.objects.objects import BLOCK_BYTES, DEFAULT_LEVEL, pack, put_object
from workers.cvmfs.storage.storage import Storage
from workers.cvmfs.values.dirent import Chunk, Content
from workers.cvmfs.values.hash import Algorithm, ContentHash, Kind, new_hasher

WHOLE_BYTES = 1024 * 1024
"""Up to here content is compressed in one go, in memory, which is faster; larger
content is streamed. Which of the two is used depends on the size alone, since ISA-L
makes different streams of the same content in the two ways."""

CHUNK_BYTES = 8 * 1024 * 1024
CHUNKED_ABOVE_BYTES = 2 * CHUNK_BYTES
"""Files above 16 MiB are cut at every 8 MiB, so that clients fetch only the parts they
read. CernVM-FS cuts where a rolling checksum says so, which lets two versions of a file
share chunks; a rolling checksum in Python takes minutes for what takes a second here,
and files in images change as a whole. Any contiguous cut is valid for every client
(cvmfs-format.md section 4)."""

_KNOWN_OBJECTS = 50_000


class ContentStore:
    """Puts the content of regular files into a storage.

    Bounded in memory (about a megabyte for each thread that uses it), and safe to use
    from several threads.

    Args:
        storage: where the objects go.
        level: of ISA-L's compression, 0 to 3. Changing it makes new objects of content
            that is stored already.
    """

    def __init__(self, storage: Storage, *, level: int = DEFAULT_LEVEL) -> None:
        self._storage = storage
        self._level = level
        self._known: set[bytes] = set()

    def put(self, stream: BinaryIO, size: int) -> Content:
        """Store the next ``size`` bytes of ``stream`` as one file's content.

        Raises:
            Damaged: the stream ends before.
            StorageFailed: the storage refuses.
        """
        if size <= WHOLE_BYTES:
            return self.put_bytes(_read_exactly(stream, size))
        if size <= CHUNKED_ABOVE_BYTES:
            return Content(self._stream(stream, size, Kind.BULK), size)
        chunks = tuple(
            Chunk(offset, length, self._stream(stream, length, Kind.PARTIAL))
            for offset in range(0, size, CHUNK_BYTES)
            for length in (min(CHUNK_BYTES, size - offset),)
        )
        return Content(None, size, chunks=chunks)

    def put_bytes(self, data: bytes) -> Content:
        """Store small content; as ``put`` does, whatever its size."""
        size = len(data)
        if size > WHOLE_BYTES:
            return self.put(io.BytesIO(data), size)
        packed = pack(data, self._level)
        digest = hashlib.sha1(packed, usedforsecurity=False)
        raw = digest.digest()
        if raw not in self._known:
            text = digest.hexdigest()
            self._storage.put(f"data/{text[:2]}/{text[2:]}", packed)
            self._remember(raw)
        return Content(raw, size)

    def put_chunk(self, data: bytes, offset: int) -> Chunk:
        """Store one chunk of a large file, for those who cut it themselves."""
        content_hash, _ = put_object(self._storage, data, Kind.PARTIAL, self._level)
        return Chunk(offset, len(data), content_hash.digest)

    def forget(self) -> None:
        """Look up every object again from now on, as objects may have been deleted."""
        self._known.clear()

    def _remember(self, digest: bytes) -> None:
        if len(self._known) >= _KNOWN_OBJECTS:
            self._known.clear()
        self._known.add(digest)

    def _stream(self, stream: BinaryIO, size: int, kind: Kind) -> bytes:
        hasher = new_hasher(Algorithm.SHA1)
        compressor = isal_zlib.compressobj(self._level)
        with self._storage.stage() as staged:
            for length in _block_lengths(size):
                packed = compressor.compress(_read_exactly(stream, length))
                hasher.update(packed)
                staged.write(packed)
            packed = compressor.flush()
            hasher.update(packed)
            staged.write(packed)
            digest = hasher.digest()
            staged.publish(ContentHash(digest).path(kind))
        return digest


def _block_lengths(size: int) -> Iterator[int]:
    for offset in range(0, size, BLOCK_BYTES):
        yield min(BLOCK_BYTES, size - offset)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) == size:
        return data
    # A raw stream may give less than it has.
    pieces = [data]
    missing = size - len(data)
    while missing:
        piece = stream.read(missing)
        if not piece:
            raise Damaged(f"content ends {missing} bytes early")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
