"""The locks of ``cvmfs_server``, taken so that neither side loses a revision.

In the spool of a repository the stock tools keep

- ``in_transaction.lock``, a flag: while the file exists, a transaction is open. Also
  tag, rollback, gc and their like set it while they work. It has no holder;
- ``is_publishing.lock``, a ``flock`` for as long as ``publish`` or ``abort`` work;
- ``is_collecting.lock`` and ``is_updating.lock``, for gc, check, and replicas. We leave
  them alone: a collection sets the flag as well, and a check harms nobody.

We set the flag and hold the second. Then ``transaction`` ends with an error ("cannot
establish writable mountpoint"), as do tag, rollback and gc, and ``publish`` and
``abort`` refuse. Our flag says whose it is and carries a ``flock``, by which the next
of us knows that its holder has died; a flag that is not ours we never remove.

That is not enough, since setting the flag is no test: ``transaction`` reads the head,
runs the operator's hook, compares with its mount, looks whether the flag is there, and
then sets it whether it is there or not. One that read the old head could find the flag
gone once we have published, and publish over us later. Hence three more rules:

1. With the flag set we look for processes that are opening a transaction, and give way
   if there are any. Whoever starts later finds the flag.
2. If anybody wrote to our flag meanwhile, it has become theirs: it stays, and we give
   way. (Whoever has looked for the flag before it was there, and sets it now, is either
   found by rule 1 or has done so by then.) Asked again before the reflog and before the
   manifest.
3. Having published, we keep the flag until those who are opening a transaction, and may
   have read the old head, have found it and failed.

Processes are found in ``/proc``, so we have to see those of the machine: in a container
that means its process namespace (``--pid=host``).

Source: cvmfs/publish/repository_transaction.cc, repository_managed.cc,
repository_util.cc; server/cvmfs_server_util.sh; run against 2.12.
"""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from workers.cvmfs.errors import StorageFailed
from workers.cvmfs.storage.file_watch import FileWatch

_FLAG = "in_transaction.lock"
_PUBLISHING = "is_publishing.lock"
_DRAFT = "in_transaction.native-"
_MARK = b"cvmfs-webhook "
_PROCESSES = Path("/proc")
_PAUSE_SECONDS = 0.02


class InTheWay(Exception):
    """The stock tools are at work; the message names the lock and the mend."""


class Hold:
    """The locks, held.

    Attributes:
        has_published: to be set once a new head is there.
    """

    def __init__(self, watch: FileWatch, theirs: InTheWay) -> None:
        self.has_published = False
        self._watch = watch
        self._theirs = theirs

    def require(self) -> None:
        """Check that no stock command has made the flag its own.

        Raises:
            InTheWay: one has.
        """
        if self._watch.was_written():
            raise self._theirs


class SpoolLock:
    """The stock tools' locks of one repository.

    Args:
        spool: their folder for it.
        fqrn: its name.
    """

    def __init__(self, spool: Path, fqrn: str) -> None:
        self._spool = spool
        self._fqrn = fqrn
        self._flag = spool / _FLAG
        self._publishing = spool / _PUBLISHING

    def give_to_owner(self, descriptor: int) -> None:
        """Let a file that root made be the repository owner's."""
        if os.geteuid() == 0:
            owner = self._spool.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def require_free(self) -> None:
        """Look whether a transaction is open or being opened; takes nothing.

        Raises:
            InTheWay: one is.
            StorageFailed: the spool cannot be read.
        """
        self._require_spool()
        if os.path.lexists(self._flag) and not self._is_ours():
            raise self._open_transaction()
        self._require_nobody_opening()

    @contextmanager
    def held(self, *, outlast_seconds: float) -> Iterator[Hold]:
        """Hold the locks; to be used under our own.

        Args:
            outlast_seconds: how long those who read the old head are waited for, once
                there is a new one.

        Raises:
            InTheWay: the stock tools are at work.
            StorageFailed: the spool cannot be written.
        """
        with self._flock(self._publishing), self._flagged() as watch:
            hold = Hold(watch, self._open_transaction())
            self._require_nobody_opening()
            hold.require()
            try:
                yield hold
            finally:
                if hold.has_published:
                    self._outlast_the_old_head(outlast_seconds)

    @contextmanager
    def _flock(self, path: Path) -> Iterator[None]:
        """Hold a lock file as the stock tools do, who remove it when they are done."""
        descriptor = self._locked(path)
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)

    def _locked(self, path: Path) -> int:
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            descriptor = self._made(path, flags)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise InTheWay(
                    f"{path}: cvmfs_server is publishing {self._fqrn}; wait for its end"
                ) from error
            if _is_same_file(descriptor, path):
                return descriptor
            os.close(descriptor)  # its last holder removed it between open and lock

    @contextmanager
    def _flagged(self) -> Iterator[FileWatch]:
        """Set the flag, never an existing one, and let it be seen whose it is."""
        self._sweep()
        draft = self._spool / f"{_DRAFT}{secrets.token_hex(6)}"
        with ExitStack() as stack:
            descriptor = self._made(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            stack.callback(os.close, descriptor)
            stack.callback(draft.unlink, missing_ok=True)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.write(descriptor, _MARK + self._description())
                watch = stack.enter_context(FileWatch(draft))
                os.link(draft, self._flag)
            except FileExistsError as error:
                raise self._open_transaction() from error
            except OSError as error:
                raise self._refusal(self._flag, error) from error
            stack.callback(self._take_down, draft, descriptor, watch)
            yield watch

    def _made(self, path: Path, flags: int) -> int:
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
            self.give_to_owner(descriptor)
        except OSError as error:
            raise self._refusal(path, error) from error
        return descriptor

    def _take_down(self, draft: Path, descriptor: int, watch: FileWatch) -> None:
        """Take our flag away, unless somebody counts on it by now."""
        # Away first and asked afterwards: who sets it from now on makes one of his own.
        taken = draft.with_name(draft.name + "-done")
        try:
            self._flag.rename(taken)
        except FileNotFoundError:
            return
        is_theirs = not _is_same_file(descriptor, taken)
        if is_theirs:
            with suppress(FileExistsError):
                os.link(taken, self._flag)
        elif watch.was_written():
            self._leave_empty_flag()
        taken.unlink()

    def _leave_empty_flag(self) -> None:
        """Leave a flag as the stock tools make it."""
        os.close(self._made(self._flag, os.O_RDWR | os.O_CREAT))

    def _sweep(self) -> None:
        """Remove what killed holders left; nobody else of us is here now."""
        if self._is_ours(fcntl.LOCK_SH | fcntl.LOCK_NB):
            with suppress(FileNotFoundError):
                self._flag.unlink()
        for draft in self._spool.glob(f"{_DRAFT}*"):
            with suppress(OSError):
                draft.unlink()

    def _is_ours(self, lock: int = 0) -> bool:
        """Tell whether the flag is one of ours; with a lock, of a holder that died."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._flag, flags)
        except OSError:
            return False
        try:
            if lock:
                fcntl.flock(descriptor, lock)
            return os.read(descriptor, len(_MARK)) == _MARK
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def _require_nobody_opening(self) -> None:
        process = next(processes_opening(self._fqrn), None)
        if process is not None:
            raise InTheWay(
                f"{self._flag}: process {process} is opening a transaction of"
                f" {self._fqrn}; wait for it, or end it if it hangs"
            )

    def _outlast_the_old_head(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if next(processes_opening(self._fqrn), None) is None:
                return
            time.sleep(_PAUSE_SECONDS)

    def _require_spool(self) -> None:
        wanted = os.R_OK | os.W_OK | os.X_OK
        if not os.access(self._spool, wanted, effective_ids=True):
            try:
                owner = self._spool.stat().st_uid
            except OSError as error:
                raise self._refusal(self._spool, error) from error
            raise StorageFailed(
                f"{self._spool}: no permission; run as its owner (uid {owner}) or root"
            )

    def _open_transaction(self) -> InTheWay:
        try:
            moment = self._flag.lstat().st_mtime
        except OSError:
            moment = time.time()
        since = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return InTheWay(
            f"{self._flag}: a transaction is open since {since} UTC; end it with"
            f" `cvmfs_server publish {self._fqrn}` or `cvmfs_server abort {self._fqrn}`"
        )

    def _description(self) -> bytes:
        text = (
            f"process {os.getpid()} on {socket.gethostname()} is committing to"
            f" {self._fqrn}. If it was killed, its next commit removes this file.\n"
        )
        return text.encode()

    def _refusal(self, path: Path, error: OSError) -> StorageFailed:
        mend = (
            "; run as the owner of the spool, or root"
            if isinstance(error, PermissionError)
            else ""
        )
        return StorageFailed(f"{path}: {error.strerror or error}{mend}")


def processes_opening(fqrn: str) -> Iterator[int]:
    """Yield the processes that are opening a stock transaction of a repository.

    Without a name on its command line, a command may mean any repository.
    """
    for entry in _PROCESSES.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if _is_opening(words, fqrn.encode()):
                    yield int(entry.name)


def _is_opening(words: list[bytes], fqrn: bytes) -> bool:
    """Tell of a command line such as ``cvmfs_publish transaction -t 5 fqrn/path``.

    In front may stand a shell; behind, options whose values hold no dot but paths.
    """
    if b"transaction" not in words:
        return False
    verb = words.index(b"transaction")
    programs = (word.rpartition(b"/")[2] for word in words[:verb])
    if not any(
        name.startswith((b"cvmfs_publish", b"cvmfs_server")) for name in programs
    ):
        return False
    names = [word for word in words[verb + 1 :] if word and not word.startswith(b"-")]
    last = names[-1].partition(b"/")[0] if names else b""
    return last == fqrn or b"." not in last


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
