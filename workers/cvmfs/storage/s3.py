"""A repository in a bucket of an S3-compatible service.

Objects are written in the background, many at once, and are there when ``sync``
returns: an answered write is durable, so nothing else is to be synced. An object that
exists is never written again.

A mutable file is replaced only if it is still the version that was read under the same
lock (``If-Match``), or not there if it was not (``If-None-Match``). So of two writers
that both think they hold the lock one fails, before or at its manifest, with nothing
lost: whatever it had stored is garbage or is used by its next attempt.

Only garbage collection lists, and deletes. There is no way to make an object young
again but to send it again, and nobody does: that what a publisher relies on is not
deleted under it is seen to by the ``deletion_mark`` alone, at no cost for each object.

Source of keys and headers: cvmfs-format.md section 9.
"""

import io
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO

from workers.cvmfs.errors import NotFound, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.bucket import (
    Bucket,
    BucketAccess,
    Outdated,
    require_own_process,
)
from workers.cvmfs.storage.bucket_lease import LEASE_SECONDS, BucketLease, held
from workers.cvmfs.storage.bucket_probe import probe
from workers.cvmfs.storage.bucket_uploads import Uploads
from workers.cvmfs.storage.storage import ListedObject

_BLOCK_BYTES = 1024 * 1024
_ASKED_FIRST_BYTES = 16 * 1024
"""From here on it is cheaper to ask whether an object is there than to send it in vain;
below, one conditional write does both."""
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_LOOKED_UP_AT_ONCE = 64
_LOOKED_UP_IN_A_ROW = 1_000


class S3Storage:
    """A ``Storage`` in a bucket.

    May be used by many processes and threads at once, but not before a fork and then in
    the child.

    Args:
        access: which bucket, and how to reach it.
        patience_seconds: how long ``lock`` waits for another holder.
        lease_seconds: how long the lock outlives a holder that died.
        retry_seconds: how long a service that fails is tried again.

    Attributes:
        reads_at_once: see ``ManyReads``.
    """

    reads_at_once = 16

    def __init__(
        self,
        access: BucketAccess,
        *,
        patience_seconds: float = 600.0,
        lease_seconds: float = LEASE_SECONDS,
        retry_seconds: float = 60.0,
    ) -> None:
        self._bucket = Bucket(access, retry_seconds=retry_seconds)
        self._patience_seconds = patience_seconds
        self._lease_seconds = lease_seconds
        self._uploads = Uploads(self._create)
        self._held = _Held()
        self._is_probed = False

    def __repr__(self) -> str:
        return f"S3Storage({self._bucket!r})"

    def get(self, path: str) -> bytes:
        """Return the whole file; see ``ObjectSource``."""
        self._background.wait_for(path)
        try:
            data, version = self._bucket.get(path)
        except NotFound:
            self._held.saw(path, None)
            raise
        self._held.saw(path, version)
        return data

    def open(self, path: str) -> BinaryIO:
        """Open the file for reading; see ``ObjectSource``."""
        self._background.wait_for(path)
        blocks = self._bucket.blocks(path, _BLOCK_BYTES)
        return io.BufferedReader(_BlockReader(blocks))

    def exists(self, path: str) -> bool:
        """Tell whether the file is there.

        Raises:
            StorageFailed: it cannot be known.
        """
        self._background.wait_for(path)
        version = self._bucket.version(path)
        self._held.saw(path, version)
        return version is not None

    def first_missing(self, paths: Sequence[str]) -> str | None:
        """Look many files up at once; see ``ManyLookups``."""
        with ThreadPoolExecutor(_LOOKED_UP_AT_ONCE, "look-up") as executor:
            for begin in range(0, len(paths), _LOOKED_UP_IN_A_ROW):
                some = paths[begin : begin + _LOOKED_UP_IN_A_ROW]
                found = executor.map(self.exists, some)
                for path, is_there in zip(some, list(found), strict=True):
                    if not is_there:
                        return path
        return None

    def prepare(self) -> None:
        """Find out whether the bucket can hold a repository; it needs no folders."""
        if not self._is_probed:
            probe(self._bucket)
            self._is_probed = True

    def put(self, path: str, data: bytes) -> bool:
        """Hand an object over; it is there after ``sync``, see ``Storage``."""
        return self._background.put(path, data)

    @contextmanager
    def stage(self) -> Iterator["StagedUpload"]:
        """Begin an object whose name is not known yet; see ``Storage``."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
            yield StagedUpload(self._bucket, file)

    def replace(self, path: str, data: bytes) -> None:
        """Replace the version of a mutable file that was read under this lock.

        Where it was not read, or where no lock is held, the one that is there now.

        Raises:
            RepositoryBusy: somebody else replaced it meanwhile.
        """
        if self._held.knows(path):
            expected = self._held.version(path)
        else:
            expected = self._bucket.version(path)
        try:
            version = self._bucket.write(path, data, expected)
        except Outdated as error:
            raise RepositoryBusy(
                f"{path}: another commit replaced it meanwhile"
            ) from error
        self._held.wrote(path, version)

    def sync(self) -> None:
        """Return once everything put before is in the bucket."""
        self._background.finish()

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        """Hold the lock, see ``lease``; remember what is read of mutable files.

        Raises:
            StorageFailed: the bucket ignores conditions.
        """
        self.prepare()
        if patience_seconds is None:
            patience_seconds = self._patience_seconds
        with (
            held(
                self._bucket,
                patience_seconds=patience_seconds,
                lease_seconds=self._lease_seconds,
            ) as lease,
            self._held.begun(lease),
        ):
            yield

    def clock(self) -> float:
        """Return the time by the service's clock; see ``CollectableStorage``."""
        key = f"data/txn/clock-{secrets.token_hex(8)}"
        self._bucket.write(key, b"[]", None)
        try:
            return self._bucket.written(key)
        finally:
            with suppress(StorageFailed):
                self._bucket.delete(key)

    def list_objects(self, shard: str) -> Iterator[ListedObject]:
        """Yield the objects of one folder; see ``CollectableStorage``."""
        for found in self._bucket.listed(f"data/{shard}"):
            yield ListedObject(*found)

    def delete_all(
        self,
        paths: Sequence[str],
        *,
        older_than: float,  # noqa: ARG002 - nothing becomes younger here
    ) -> Sequence[str]:
        """Delete objects, under the lock; see ``CollectableStorage``.

        How old each is now is not asked for: what exists is never written again, so
        they are as old as the listing said, unless others deleted them meanwhile.

        Raises:
            RepositoryBusy: somebody else took the lock; nothing more is deleted.
        """
        self._bucket.delete_all(paths, self._held.lease.prove)
        return paths

    @property
    def _background(self) -> Uploads:
        require_own_process()
        return self._uploads

    def _create(self, path: str, data: bytes) -> None:
        is_large = len(data) > _ASKED_FIRST_BYTES
        if not is_large or self._bucket.version(path) is None:
            self._bucket.create(path, data)


class StagedUpload:
    """A ``StagedObject`` in a temporary file, in memory while it is small."""

    def __init__(self, bucket: Bucket, file: IO[bytes]) -> None:
        self._bucket = bucket
        self._file = file

    def write(self, data: bytes) -> None:
        """Append stored bytes; see ``StagedObject``."""
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageFailed(f"temporary file: {error.strerror}") from error

    def publish(self, path: str) -> bool:
        """Send the object under its name; see ``StagedObject``."""
        if self._bucket.version(path) is not None:
            return False
        self._bucket.put_file(path, self._file, self._file.tell())
        return True


class _Held(threading.local):
    """Which versions of mutable files this thread read under the lock that it holds.

    The first that was read counts: what a commit works on is never newer.
    """

    _versions: dict[str, str | None] | None = None
    _lease: BucketLease | None = None

    @contextmanager
    def begun(self, lease: BucketLease) -> Iterator[None]:
        self._versions = {}
        self._lease = lease
        try:
            yield
        finally:
            self._versions = None
            self._lease = None

    @property
    def lease(self) -> BucketLease:
        if self._lease is None:
            raise RepositoryBusy("deleting takes the lock, and it is not held")
        return self._lease

    def knows(self, path: str) -> bool:
        return self._versions is not None and path in self._versions

    def version(self, path: str) -> str | None:
        return None if self._versions is None else self._versions[path]

    def saw(self, path: str, version: str | None) -> None:
        if self._versions is not None and not path.startswith("data/"):
            self._versions.setdefault(path, version)

    def wrote(self, path: str, version: str | None) -> None:
        if self._versions is not None:
            self._versions[path] = version


class _BlockReader(io.RawIOBase):
    """Blocks as a file, so that nobody holds more than one of them."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
