"""The lock of a repository in a bucket: an object that says who publishes.

It only orders writers, so that they do not work in vain: that no two of them can both
win is seen to by the conditional writes of reflog and manifest. That is why a clock
that goes wrong here, or a holder that was asleep for longer than its lease, costs time
and never data.

The object says until when it holds. Its holder writes a later time into it as long as
it lives; whoever finds the time over, or the object the same for as long as a lease
lasts, takes it. It is never deleted, as not every service deletes conditionally.

**Who deletes objects needs more**, as no service deletes on the condition that a lock
is held. A holder that was asleep must not delete what its successor has published
meanwhile. So before each request to delete it *proves* its lease: it writes the lock
once more, conditionally, and says in it how long (six leases) it has to stay the same
before anybody takes it, whatever clocks say. Whoever has lost the lock fails there; a
request that was sent just after the proof has ended, or was given up, long before a
successor begins. A collector that is killed meanwhile keeps others out for that long.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from workers.cvmfs.errors import NotFound, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.bucket import Bucket, Outdated

LOCK = "data/txn/publish.lock"
LEASE_SECONDS = 20.0
_DELETING_LEASES = 6
_FREE = json.dumps({"owner": None}).encode()
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5


@contextmanager
def held(
    bucket: Bucket, *, patience_seconds: float, lease_seconds: float
) -> Iterator["BucketLease"]:
    """Hold the lock.

    Args:
        bucket: where it lies.
        patience_seconds: how long another holder is waited for.
        lease_seconds: for how long a holder that is dead keeps it.

    Raises:
        RepositoryBusy: it was not free in time.
        StorageFailed: the bucket cannot be reached.
    """
    lease = BucketLease(bucket, lease_seconds)
    lease.acquire(patience_seconds)
    ended = threading.Event()
    renewing = threading.Thread(
        target=lease.renew_until, args=(ended,), name="lease", daemon=True
    )
    renewing.start()
    try:
        yield lease
    finally:
        ended.set()
        renewing.join()
        lease.release()


class BucketLease:
    """The lock, as its holder has it."""

    def __init__(self, bucket: Bucket, lease_seconds: float) -> None:
        self._bucket = bucket
        self._lease_seconds = lease_seconds
        self._lasts_seconds: float | None = None
        self._writing = threading.Lock()
        # For people, and for our own eyes when an answer got lost.
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
        self._version: str | None = None

    def prove(self) -> None:
        """Make sure that nobody else holds the lock, nor will for a good while.

        Raises:
            RepositoryBusy: somebody took it, having thought us dead.
        """
        self._lasts_seconds = _DELETING_LEASES * self._lease_seconds
        try:
            self._write()
        except Outdated as error:
            raise RepositoryBusy(
                f"{self._bucket!r}: another commit took the lock meanwhile"
            ) from error

    def acquire(self, patience_seconds: float) -> None:
        """Wait for the lock.

        Raises:
            RepositoryBusy: it was not free in time.
        """
        deadline = time.monotonic() + patience_seconds
        pause_seconds = _SHORTEST_PAUSE_SECONDS
        seen: str | None = None
        seen_at = 0.0
        while True:
            data, version = self._found()
            if version != seen:
                seen, seen_at = version, time.monotonic()
            said = _said(data)
            lasts = max(self._lease_seconds, said.lasts_seconds)
            is_stale = time.monotonic() - seen_at >= lasts
            if version is None or is_stale or not said.is_held:
                self._version = version
                with suppress(Outdated):
                    self._write()
                    return
            if time.monotonic() >= deadline:
                raise RepositoryBusy(
                    f"{self._bucket!r}: another commit has held the lock for"
                    f" {patience_seconds:g} s"
                )
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def renew_until(self, ended: threading.Event) -> None:
        """Write a later time into the lock, again and again."""
        while not ended.wait(self._lease_seconds / 3):
            try:
                self._write()
            except Outdated:
                return  # somebody thought us dead; the manifest's condition decides
            except StorageFailed:
                continue

    def release(self) -> None:
        """Give the lock back."""
        # Unreleased, it ends by itself.
        with suppress(Outdated, StorageFailed):
            self._bucket.write(LOCK, _FREE, self._version)

    def _found(self) -> tuple[bytes, str | None]:
        try:
            return self._bucket.get(LOCK)
        except NotFound:
            return b"", None

    def _write(self) -> None:
        said: dict[str, object] = {"owner": self._owner}
        with self._writing:
            if self._lasts_seconds is None:
                said["until"] = time.time() + self._lease_seconds
            else:
                said["lasts"] = self._lasts_seconds
            # Each text is another one, or it would be no news to those who wait.
            said["written"] = time.monotonic()
            data = json.dumps(said).encode()
            self._version = self._bucket.write(LOCK, data, self._version)


class _LeaseDocument(NamedTuple):
    """What the lock says.

    Attributes:
        is_held: whether somebody holds it, if its time can be believed.
        lasts_seconds: for how long it has to stay the same until nobody does.
    """

    is_held: bool
    lasts_seconds: float = 0.0


def _said(data: bytes) -> _LeaseDocument:
    try:
        said = json.loads(data)
        if said["owner"] is None:
            return _LeaseDocument(is_held=False)
        if "lasts" in said:
            return _LeaseDocument(is_held=True, lasts_seconds=float(said["lasts"]))
        return _LeaseDocument(is_held=float(said["until"]) > time.time())
    except (ValueError, KeyError, TypeError):
        # No lock of ours; replaced under its version, so nothing is lost.
        return _LeaseDocument(is_held=False)
