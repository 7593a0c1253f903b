"""Proving that objects are there, and that they are what rows say of them.

An object is asked for once, however many rows name it: an image's files are named by
the catalog of their layer and by that of every flat tree made of it. What has been
asked for already is remembered in a ``set``, and when that has grown large, in a
temporary SQLite database, which SQLite keeps in its page cache while it is small and
moves to a temporary file when it is not. The alternatives: a set alone costs 120 MB per
million objects; a Bloom filter would now and then take a missing object for a known
one; asking anew for each row makes a hundred requests, or decompresses a hundred times,
where one is due.

Work is done in batches: by a few threads where that helps, as hashing, decompressing
and waiting for an answer release Python's lock; by the caller alone where it does not.
Small files of a disk at hand are such a case: threads that pass the lock to each other
twice per file need up to three times as long as one alone. So a first batch is timed.
Findings come out in the order of the questions in any case.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from time import perf_counter, thread_time
from typing import NamedTuple, Protocol, cast

from isal import isal_zlib

from workers.cvmfs.checking.finding import Finding, Findings
from workers.cvmfs.errors import FormatError, NotFound, StorageFailed
from workers.cvmfs.objects.objects import BLOCK_BYTES
from workers.cvmfs.storage.storage import ObjectSource
from workers.cvmfs.values.dirent import STORED, ZLIB
from workers.cvmfs.values.hash import Algorithm, ContentHash, Kind, new_hasher

ANY_SIZE = -1
_THREADS = 8
"""More than cores: a thread may wait for an object store's answer."""
_BATCH = 64
_WINDOW = 64 * _BATCH
_PATIENCE_SECONDS = 500e-6
_LARGE_BYTES = 32 * 1024
"""Waiting as long, or reading as much, for one object is worth a thread. Servers far
away take longer to answer; a disk at hand does not, even if the processor is busy."""
_CACHE_KIBIBYTES = 32 * 1024
_RECENT = 1 << 18
"""So many keys take 30 MB in a set, which is three times as fast as the database."""

_SEEN = "CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID"

_ALGORITHMS = tuple(Algorithm)
_ALGORITHM_NAMES = tuple(b"%d" % algorithm for algorithm in Algorithm)
_KINDS = {kind.value.encode(): kind for kind in Kind}

_IsalError = cast("type[Exception]", isal_zlib.IsalError)  # its stub says: an instance


class WantedObject(NamedTuple):
    """An object as one row wants it; the fields are as SQLite gives them.

    Attributes:
        digest: of its stored bytes, 20 raw bytes.
        algorithm: of the digest, see ``hash.Algorithm``.
        suffix: of its name, see ``hash.Kind``.
        size: of its content in bytes, ``ANY_SIZE`` where nobody says it.
        compression: ``dirent.ZLIB`` or ``dirent.STORED``.
        owner: with ``owner_2`` by which the one who asks knows whose it is.
        owner_2: see there.
    """

    digest: bytes
    algorithm: int
    suffix: bytes
    size: int = ANY_SIZE
    compression: int = ZLIB
    owner: int = 0
    owner_2: int = 0

    @classmethod
    def database(
        cls, digest: ContentHash, kind: Kind, *, size: int = 0, owner: int = 0
    ) -> "WantedObject":
        """Return a compressed object; its size is 0 where nobody says it."""
        suffix = kind.value.encode()
        return cls(*digest, suffix, size or ANY_SIZE, ZLIB, owner)

    @property
    def path(self) -> str:
        """Where it lies in the storage."""
        digest = ContentHash(self.digest, _ALGORITHMS[self.algorithm])
        return digest.path(_KINDS[self.suffix])


class Proven(NamedTuple):
    """How much was proven: objects, and the stored bytes read for it."""

    objects: int
    bytes: int


_Answer = tuple[list[tuple[WantedObject, str]], Proven]
"""Of a batch the objects with what is wrong with them, and how much was proven."""


class Prover(AbstractContextManager["Prover"]):
    """Proves objects of one storage.

    Args:
        source: the storage; used by several threads at once.
        contents: whether to read objects, not only to look for them.
        tell: is told what was proven, now and then.
    """

    def __init__(
        self, source: ObjectSource, *, contents: bool, tell: Callable[[Proven], None]
    ) -> None:
        self._source = source
        self._contents = contents
        self._tell = tell
        self._seen = _Seen()
        self._pool = ThreadPoolExecutor(_THREADS, "prove")

    def __exit__(self, *_: object) -> None:
        """Wait for what is under way; what has not begun never will."""
        self._pool.shutdown(cancel_futures=True)
        self._seen.close()

    def prove(
        self, wanted: Iterable[WantedObject], where: Callable[[WantedObject], str]
    ) -> Findings[None]:
        """Yield a finding for each object that is not as wanted.

        Args:
            wanted: the objects; those asked for before are passed over.
            where: tells where to look for the mistake.
        """
        fresh = self._fresh(wanted)
        # SQLite lets go of Python's lock at every row, and would wait for it among the
        # threads each time: so they rest while the next questions are put together.
        while window := list(islice(fresh, _WINDOW)):
            for problems, proven in self._answers(window):
                self._tell(proven)
                for one, problem in problems:
                    yield Finding.of(where(one), problem)

    def _answers(self, window: list[WantedObject]) -> Iterator[_Answer]:
        batches = [
            window[start : start + _BATCH] for start in range(0, len(window), _BATCH)
        ]
        began, worked = perf_counter(), thread_time()
        first = self._examine(batches[0])
        yield first
        waited = perf_counter() - began - (thread_time() - worked)
        is_slow = waited > _PATIENCE_SECONDS * len(batches[0])
        is_large = first[1].bytes > _LARGE_BYTES * len(batches[0])
        examine = self._pool.map if is_slow or is_large else map
        yield from examine(self._examine, batches[1:])

    def _fresh(self, wanted: Iterable[WantedObject]) -> Iterator[WantedObject]:
        # Rows that disagree about one object cannot all be right: if it is to be read,
        # ask for each of them.
        key = _content_key if self._contents else _object_key
        seen = self._seen
        return (one for one in wanted if seen.add(key(one)))

    def _examine(self, batch: list[WantedObject]) -> _Answer:
        problems = []
        total = 0
        for wanted in batch:
            path = wanted.path
            try:
                if self._contents:
                    problem, count = _read(self._source, path, wanted)
                    total += count
                else:
                    problem = None if self._source.exists(path) else "is missing"
            except NotFound:
                problem = "is missing"
            except FormatError as error:
                problem = f"cannot be read: {error}"
            if problem is not None:
                problems.append((wanted, f"object {path} {problem}"))
        return problems, Proven(len(batch), total)


def _read(
    source: ObjectSource, path: str, wanted: WantedObject
) -> tuple[str | None, int]:
    """Read one object to its end; return what is wrong with it, and its size.

    That the bytes are not those of its name is told before that they make no sense:
    the first is damage to the object, the second a mistake of the row.
    """
    hasher = new_hasher(_ALGORITHMS[wanted.algorithm])
    content: _Content = _Inflated() if wanted.compression == ZLIB else _Plain()
    total = 0
    with source.open(path) as file:
        while True:
            try:
                block = file.read(BLOCK_BYTES)
            except OSError as error:
                return f"cannot be read: {error}", total
            if not block:
                break
            total += len(block)
            hasher.update(block)
            content.feed(block)
    if hasher.digest() != wanted.digest:
        return "is damaged: its bytes do not have the hash that names it", total
    if wanted.compression not in (ZLIB, STORED):
        return None, total  # the row is found to be wrong where rows are examined
    return content.problem(wanted.size), total


class _Content(Protocol):
    """The content of an object, as far as it has been read."""

    def feed(self, block: bytes) -> None:
        """Take the next stored bytes."""
        ...

    def problem(self, size: int) -> str | None:
        """At the end, tell what is wrong with it."""
        ...


class _Plain:
    """The content of an object that is not compressed."""

    def __init__(self) -> None:
        self._size = 0

    def feed(self, block: bytes) -> None:
        self._size += len(block)

    def problem(self, size: int) -> str | None:
        return _size_problem(self._size, size)


class _Inflated:
    """The content of a compressed object, in bounded memory."""

    def __init__(self) -> None:
        self._decompressor = isal_zlib.decompressobj()
        self._size = 0
        self._problem: str | None = None

    def feed(self, block: bytes) -> None:
        pending = block
        while self._problem is None:
            try:
                content = self._decompressor.decompress(pending, BLOCK_BYTES)
            except _IsalError as error:
                self._problem = f"is not a zlib stream, as its entry says: {error}"
                return
            self._size += len(content)
            pending = self._decompressor.unconsumed_tail
            if len(content) < BLOCK_BYTES and not pending:
                return

    def problem(self, size: int) -> str | None:
        if self._problem is not None:
            return self._problem
        if not self._decompressor.eof:
            return "is a zlib stream cut short"
        if self._decompressor.unused_data:
            return "has bytes after its zlib stream"
        return _size_problem(self._size, size)


def _size_problem(actual: int, wanted: int) -> str | None:
    if wanted in (ANY_SIZE, actual):
        return None
    return f"holds {actual} bytes, its entry says {wanted}"


def _object_key(wanted: WantedObject) -> bytes:
    return wanted[0] + _ALGORITHM_NAMES[wanted[1]] + wanted[2]


def _content_key(wanted: WantedObject) -> bytes:
    digest, algorithm, suffix, size, compression, _, _ = wanted
    return b"%b%d%b,%d,%d" % (digest, algorithm, suffix, size, compression)


class _Seen:
    """Which objects have been asked for; see the top of this file."""

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._has_stored = False
        # The empty name is a temporary file that SQLite makes and removes itself.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute(f"PRAGMA cache_size=-{_CACHE_KIBIBYTES:d}")
        self._connection.execute(_SEEN)

    def add(self, key: bytes) -> bool:
        """Remember an object; tell whether it is new."""
        try:
            if key in self._recent or (self._has_stored and self._is_stored(key)):
                return False
            self._recent.add(key)
            if len(self._recent) >= _RECENT:
                self._store()
        except sqlite3.Error as error:
            raise StorageFailed(f"temporary database: {error}") from error
        return True

    def close(self) -> None:
        """Drop it, with its file."""
        self._connection.close()

    def _is_stored(self, key: bytes) -> bool:
        found = self._connection.execute("SELECT 1 FROM seen WHERE key = ?", (key,))
        return found.fetchone() is not None

    def _store(self) -> None:
        self._connection.execute("BEGIN")
        # In their order they fill one page after the other.
        self._connection.executemany(
            "INSERT INTO seen VALUES (?)", ((key,) for key in sorted(self._recent))
        )
        self._connection.execute("COMMIT")
        self._recent.clear()
        self._has_stored = True
