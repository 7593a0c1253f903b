"""A repository on a release manager machine, beside the stock tools.

``cvmfs_server`` publishes on the revision that it mounted when its transaction began,
and does not look again: what anybody else committed meanwhile is lost, without a word.
So its locks have to be ours, and ours its own; ``stock_lock.py`` has the rules.

Two more things of theirs are kept true. They believe a reflog only if its hash is the
one in the spool's ``reflog.chksum``, which therefore follows each reflog that we write.
And what their garbage collection may have deleted shows in the deletion mark.

Where the repository lies, in a directory or in a bucket, makes no difference.

Source: cvmfs/server/*.sh, publish/*.cc, signing_tool.cc; cvmfs-format.md section 8.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from workers.cvmfs.errors import Malformed, NotFound, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.stock_lock import Hold, InTheWay, SpoolLock
from workers.cvmfs.storage.storage import (
    MANIFEST,
    REFLOG,
    STATUS,
    CollectableStorage,
    KnowsItsOwn,
    ListedObject,
    ManyLookups,
    StagedObject,
    reads_at_once,
)
from workers.cvmfs.values.hash import ContentHash

_CHECKSUM = "reflog.chksum"
_REMOUNTED = ("scratch", "ofs_workdir")
"""Folders of the spool in which each stock transaction leaves a later time, as it
renames or mounts something in them when it ends. We never touch them."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class StockStorage:
    """A ``CollectableStorage`` that the stock tools on this machine write to as well.

    Args:
        inner: where the repository lies.
        spool: the stock tools' folder for it, ``/var/spool/cvmfs/<fqrn>``.
        fqrn: the repository's name.
        patience_seconds: how long ``lock`` waits for others, transactions included.
    """

    def __init__(
        self,
        inner: CollectableStorage,
        spool: Path,
        fqrn: str,
        *,
        patience_seconds: float = 600.0,
    ) -> None:
        self._inner = inner
        self._spool = spool
        self._lock = SpoolLock(spool, fqrn)
        self._patience_seconds = patience_seconds
        self._hold: Hold | None = None

    def __repr__(self) -> str:
        return f"StockStorage({self._inner!r}, {str(self._spool)!r})"

    @property
    def inner(self) -> CollectableStorage:
        """Where the repository lies."""
        return self._inner

    @property
    def reads_at_once(self) -> int:
        """See ``ManyReads``."""
        return reads_at_once(self._inner)

    def reflog_checksum(self) -> ContentHash | None:
        """Return what the stock tools take the reflog's hash to be, if they say.

        They collect garbage, which changes the reflog, without signing a new manifest;
        so it counts for more than the manifest's word.
        """
        try:
            return ContentHash.parse((self._spool / _CHECKSUM).read_text().strip())
        except (OSError, UnicodeDecodeError, Malformed):
            return None

    def get(self, path: str) -> bytes:
        """Return the whole file; see ``ObjectSource``."""
        if path == STATUS:
            return self._status()
        return self._inner.get(path)

    def open(self, path: str) -> BinaryIO:
        """Open the file for reading; see ``ObjectSource``."""
        return self._inner.open(path)

    def exists(self, path: str) -> bool:
        """Tell whether the file is there."""
        return self._inner.exists(path)

    def first_missing(self, paths: Sequence[str]) -> str | None:
        """Look many files up at once; see ``ManyLookups``."""
        if isinstance(self._inner, ManyLookups):
            return self._inner.first_missing(paths)
        return next((path for path in paths if not self._inner.exists(path)), None)

    def prepare(self) -> None:
        """Make the folders a repository wants; the spool is the stock tools' own."""
        self._inner.prepare()

    def put(self, path: str, data: bytes) -> bool:
        """Store an object; see ``Storage``."""
        return self._inner.put(path, data)

    def stage(self) -> AbstractContextManager[StagedObject]:
        """Begin an object whose name is not known yet; see ``Storage``."""
        return self._inner.stage()

    def sync(self) -> None:
        """Return once everything put before is on disk; see ``Storage``."""
        self._inner.sync()

    def list_objects(self, shard: str) -> Iterator[ListedObject]:
        """Yield the objects of one folder; see ``CollectableStorage``."""
        return self._inner.list_objects(shard)

    def clock(self) -> float:
        """Return the time by the clock that dates objects; see the protocol."""
        return self._inner.clock()

    def delete_all(self, paths: Sequence[str], *, older_than: float) -> Sequence[str]:
        """Delete objects; see ``CollectableStorage``."""
        return self._inner.delete_all(paths, older_than=older_than)

    def own_objects(self) -> Iterable[str]:
        """Yield what was stored through this object; see ``KnowsItsOwn``."""
        inner = self._inner
        return inner.own_objects() if isinstance(inner, KnowsItsOwn) else ()

    def delete_own(self, paths: Sequence[str]) -> Sequence[str]:
        """Delete what nobody else has found; see ``KnowsItsOwn``."""
        inner = self._inner
        return inner.delete_own(paths) if isinstance(inner, KnowsItsOwn) else ()

    def forget_own(self) -> None:
        """Let what was stored be like everybody's; see ``KnowsItsOwn``."""
        if isinstance(self._inner, KnowsItsOwn):
            self._inner.forget_own()

    def replace(self, path: str, data: bytes) -> None:
        """Replace a mutable file, and tell the stock tools of a new reflog.

        Killed between the reflog and its checksum, the stock tools refuse to publish
        ("data corruption in .cvmfsreflog") until our next commit, which sees a reflog
        that its manifest does not name and writes both again.

        Raises:
            RepositoryBusy: a stock command began in spite of the lock; nothing is
                published yet.
        """
        hold = self._hold
        if hold is not None and path in (REFLOG, MANIFEST):
            try:
                hold.require()
            except InTheWay as error:
                raise RepositoryBusy(str(error)) from error
        self._inner.replace(path, data)
        if path == REFLOG:
            self._write_checksum(str(ContentHash.of(data)))
        if hold is not None and path == MANIFEST:
            hold.has_published = True

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        """Hold our lock and the stock tools' own; see ``Storage``."""
        if patience_seconds is None:
            patience_seconds = self._patience_seconds
        with ExitStack() as stack:
            self._hold = self._acquire(stack, patience_seconds)
            try:
                yield
            finally:
                self._hold = None

    def _acquire(self, stack: ExitStack, patience_seconds: float) -> Hold:
        """Wait for both; ours is not held while somebody else's transaction is open."""
        deadline = time.monotonic() + patience_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                self._lock.require_free()
                with ExitStack() as attempt:
                    left = max(0.0, round(deadline - time.monotonic(), 2))
                    attempt.enter_context(self._inner.lock(patience_seconds=left))
                    hold = attempt.enter_context(
                        self._lock.held(outlast_seconds=self._patience_seconds)
                    )
                    stack.push(attempt.pop_all())
                    return hold
            except InTheWay as error:
                if time.monotonic() >= deadline:
                    raise RepositoryBusy(
                        f"{error} (waited {patience_seconds:g} s)"
                    ) from error
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _write_checksum(self, text: str) -> None:
        target = self._spool / _CHECKSUM
        temporary = self._spool / f"{_CHECKSUM}.native"
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
            )
            try:
                self._lock.give_to_owner(descriptor)
                os.write(descriptor, text.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(target)
        except OSError as error:
            raise StorageFailed(f"{target}: {error.strerror}") from error

    def _status(self) -> bytes:
        """Return the status file, and when stock transactions last ended.

        Their collection writes that file only where it can, and not if it fails.
        """
        try:
            status = self._inner.get(STATUS)
        except NotFound:
            status = b""
        for name in _REMOUNTED:
            try:
                moment = (self._spool / name).stat().st_mtime_ns
            except OSError:
                continue
            status += b"%s %d\n" % (name.encode(), moment)
        return status
