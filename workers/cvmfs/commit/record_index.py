"""Where in a long list something is, so that nobody has to read all of it.

A file beside the list, for those alone who write that. It says of a text, an id or a
name, in which chunk of the list the record is that has it. A text is known by sixteen
bytes of its SHA-256: people choose names, and must not find two that look like one.

Its first chunk is a seal, which names the content of the list that the others are true
of. Whoever replaces the list by other means breaks it, and the index is made anew. The
others are buckets, each of those texts whose hash leads there: a commit reads and
writes no more of them than it has texts, each of ten kilobytes at 10 000 images.
"""

import hashlib
import struct
from collections.abc import Iterable

from workers.cvmfs.objects.objects import pack, put_object, read_chunks
from workers.cvmfs.storage.storage import Storage
from workers.cvmfs.values.dirent import Chunk, Content
from workers.cvmfs.values.hash import ContentHash, Kind

_MAGIC = b"record index 1\n"
"""Begins every chunk, none of which may be empty; raised when they change."""
_BUCKETS = 64
_DIGEST_SIZE = 16
_NUMBER = struct.Struct("<I")
_ENTRY_SIZE = _DIGEST_SIZE + _NUMBER.size


class RecordIndex:
    """An index, to be changed.

    Args:
        storage: where contents are.
        content: of its file, if it ``is_true``; ``None`` for one that knows nothing.
    """

    def __init__(self, storage: Storage, content: Content | None) -> None:
        self._storage = storage
        self._content = content
        self._buckets: dict[int, bytearray] = {}
        if content is None:
            self._buckets = {number: bytearray(_MAGIC) for number in range(_BUCKETS)}
        self._changed = set(self._buckets)

    @staticmethod
    def is_true(content: Content, listed: Content, level: int) -> bool:
        """Tell whether an index is one of the list as it is.

        Nothing is read for it: of the seal it is known what it has to be. If that were
        packed in another way now, it would be taken for broken, which costs time only.
        """
        seal = ContentHash.of(pack(_seal(listed), level))
        plain = content._replace(size=0, chunks=())
        return (
            plain == Content(None, 0)
            and len(content.chunks) == 1 + _BUCKETS
            and content.chunks[0].hash == seal.digest
        )

    def read(self, texts: Iterable[str]) -> None:
        """Read what it takes to know of some texts; to be done before all else."""
        wanted = {_bucket(_digest(text)) for text in texts} - self._buckets.keys()
        if self._content is not None and wanted:
            numbers = sorted(wanted)
            chunks = [self._content.chunks[1 + number] for number in numbers]
            found = read_chunks(self._storage, self._content, chunks)
            self._buckets.update(zip(numbers, map(bytearray, found), strict=True))

    def get(self, text: str) -> int | None:
        """Return the number of the chunk where a text is."""
        digest = _digest(text)
        bucket = self._buckets[_bucket(digest)]
        begin = bucket.find(digest)
        if begin < 0:
            return None
        number: int = _NUMBER.unpack_from(bucket, begin + _DIGEST_SIZE)[0]
        return number

    def put(self, text: str, number: int) -> None:
        """Remember in which chunk a text is from now on."""
        if self.get(text) != number:
            self.forget(text)
            digest = _digest(text)
            self._buckets[_bucket(digest)] += digest + _NUMBER.pack(number)
            self._changed.add(_bucket(digest))

    def forget(self, text: str) -> None:
        """Remember nothing of a text."""
        digest = _digest(text)
        bucket = self._buckets[_bucket(digest)]
        begin = bucket.find(digest)
        if begin >= 0:
            del bucket[begin : begin + _ENTRY_SIZE]
            self._changed.add(_bucket(digest))

    def store(self, listed: Content, level: int) -> Content:
        """Store the index as it is now; return its content.

        Args:
            listed: the content of the list that it is true of.
            level: of compression.
        """
        known = self._content.chunks if self._content is not None else ()
        chunks: list[Chunk] = []
        offset = 0
        for number in range(-1, _BUCKETS):
            if number >= 0 and number not in self._changed:
                chunk = known[1 + number]._replace(offset=offset)
            else:
                data = _seal(listed) if number < 0 else bytes(self._buckets[number])
                stored, _ = put_object(self._storage, data, Kind.PARTIAL, level)
                chunk = Chunk(offset, len(data), stored.digest)
            chunks.append(chunk)
            offset += chunk.size
        return Content(None, offset, chunks=tuple(chunks))


def _digest(text: str) -> bytes:
    # Half of a surrogate pair is text for JSON.
    data = text.encode(errors="surrogatepass")
    return hashlib.sha256(data).digest()[:_DIGEST_SIZE]


def _bucket(digest: bytes) -> int:
    return digest[0] % _BUCKETS


def _seal(listed: Content) -> bytes:
    return _MAGIC + hashlib.sha256(repr(tuple(listed)).encode()).digest()
