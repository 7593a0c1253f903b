"""The lock of a repository in a bucket: an object that says who publishes.

It only orders writers, so that they do not work in vain: that no two of them can both
win is seen to by the conditional writes of reflog and manifest. That is why a clock
that goes wrong here, or a holder that was asleep for longer than its lease, costs time
and never data.

The object says until when it holds. Its holder writes a later time into it as long as
it lives; whoever finds the time over, or the object the same for as long as a lease
lasts, takes it. It is never deleted, as not every service deletes conditionally.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from workers.cvmfs.bucket import Bucket, Outdated
from workers.cvmfs.errors import NotFound, RepositoryBusy, StorageFailed

LOCK = "data/txn/publish.lock"
LEASE_SECONDS = 20.0
_FREE = json.dumps({"owner": None}).encode()
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5


@contextmanager
def held(
    bucket: Bucket, *, patience_seconds: float, lease_seconds: float
) -> Iterator[None]:
    """Hold the lock.

    Args:
        bucket: where it lies.
        patience_seconds: how long another holder is waited for.
        lease_seconds: for how long a holder that is dead keeps it.

    Raises:
        RepositoryBusy: it was not free in time.
        StorageFailed: the bucket cannot be reached.
    """
    lease = _Lease(bucket, lease_seconds)
    lease.acquire(patience_seconds)
    ended = threading.Event()
    renewing = threading.Thread(
        target=lease.renew_until, args=(ended,), name="lease", daemon=True
    )
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        lease.release()


class _Lease:
    def __init__(self, bucket: Bucket, lease_seconds: float) -> None:
        self._bucket = bucket
        self._lease_seconds = lease_seconds
        # For people, and for our own eyes when an answer got lost.
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
        self._version: str | None = None

    def acquire(self, patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
        pause_seconds = _SHORTEST_PAUSE_SECONDS
        seen: str | None = None
        seen_at = 0.0
        while True:
            data, version = self._found()
            if version != seen:
                seen, seen_at = version, time.monotonic()
            is_stale = time.monotonic() - seen_at >= self._lease_seconds
            if version is None or is_stale or not _is_held(data):
                with suppress(Outdated):
                    self._write(version)
                    return
            if time.monotonic() >= deadline:
                raise RepositoryBusy(
                    f"{self._bucket!r}: another commit has held the lock for"
                    f" {patience_seconds:g} s"
                )
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(self._lease_seconds / 3):
            try:
                self._write(self._version)
            except Outdated:
                return  # somebody thought us dead; the manifest's condition decides
            except StorageFailed:
                continue

    def release(self) -> None:
        # Unreleased, it ends by itself.
        with suppress(Outdated, StorageFailed):
            self._bucket.write(LOCK, _FREE, self._version)

    def _found(self) -> tuple[bytes, str | None]:
        try:
            return self._bucket.get(LOCK)
        except NotFound:
            return b"", None

    def _write(self, version: str | None) -> None:
        until = time.time() + self._lease_seconds
        data = json.dumps({"owner": self._owner, "until": until}).encode()
        self._version = self._bucket.write(LOCK, data, version)


def _is_held(data: bytes) -> bool:
    try:
        said = json.loads(data)
        return said["owner"] is not None and float(said["until"]) > time.time()
    except (ValueError, KeyError, TypeError):
        return False  # no lock of ours; replaced under its version, so nothing is lost
