"""A content store in memory, for trees that are to be read back."""

import hashlib
from collections.abc import Iterator
from threading import Lock

from workers.cvmfs import Chunk, Content

_STORED = 1  # workers.cvmfs.values.dirent: no compression


class MemorySink:
    """Keeps what it is given, by its SHA-1; a ``workers.publishing.plan.ContentSink``.

    Attributes:
        piece_size: see ``ContentSink``; small ones make small files large.
        objects: the bytes by their hash.
    """

    def __init__(self, piece_size: int = 1 << 22) -> None:
        self.piece_size = piece_size
        self.objects: dict[bytes, bytes] = {}
        self._lock = Lock()

    def put_bytes(self, data: bytes) -> Content:
        return Content(self._put(data), len(data), _STORED)

    def put_piece(self, data: bytes, offset: int) -> Chunk:
        return Chunk(offset, len(data), self._put(data))

    def join_pieces(self, pieces: tuple[Chunk, ...]) -> Content:
        return Content(None, sum(piece.size for piece in pieces), _STORED, pieces)

    def read(self, content: Content) -> bytes:
        """Return the bytes again, the pieces' offsets and sizes checked."""
        data = b"".join(self.pieces(content))
        assert len(data) == content.size
        return data

    def pieces(self, content: Content) -> Iterator[bytes]:
        """Yield the bytes again, object by object."""
        if content.hash is not None:
            assert not content.chunks
            yield self.objects[content.hash]
            return
        offset = 0
        for chunk in content.chunks:
            data = self.objects[chunk.hash]
            assert (chunk.offset, chunk.size) == (offset, len(data))
            yield data
            offset += len(data)

    def _put(self, data: bytes) -> bytes:
        key = hashlib.sha1(data, usedforsecurity=False).digest()
        with self._lock:
            self.objects[key] = data
        return key
