"""A repository in a local (or network-mounted) directory.

Objects are written to a file in ``data/txn`` and renamed, as cvmfs/upload_local.cc
does, but not synced one by one: tens of thousands of syncs would be most of the work.
One ``syncfs`` before the manifest does it for all. A power failure before it may leave
an object cut short under its final name (file systems may write names before
contents), so an object counts as present only if its size is right too.

An object that is put again becomes as young as a new one, so that garbage collection
leaves it alone for its grace time (``own_objects.py``).
"""

# An image has tens of thousands of files; a Path for each would cost too much.
# ruff: noqa: PTH104, PTH108, PTH116, PTH123

import ctypes
import fcntl
import itertools
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from workers.cvmfs.errors import NotFound, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.own_objects import Found, OwnObjects
from workers.cvmfs.storage.storage import ListedObject

_TEMPORARY_PREFIX = "put-"
_LOCK_FILE = "data/txn/publish.lock"
_LEFTOVER_SECONDS = 24 * 3600
"""A temporary file nobody has written to for so long belongs to a dead writer."""


class LocalStorage:
    """A ``Storage`` in a directory.

    The same directory may be used by many processes and threads at once.

    Args:
        root: the repository's base, what HTTP serves as ``/cvmfs/<fqrn>``. Made by
            ``prepare`` when it is not there.
        patience_seconds: how long ``lock`` waits for another holder.
    """

    def __init__(self, root: Path, *, patience_seconds: float = 600.0) -> None:
        self._root = os.fspath(root)
        self._patience_seconds = patience_seconds
        # Unique among hosts that share the directory; the process id, asked for at
        # each use, keeps a forked child apart from its parent.
        self._token = secrets.token_hex(6)
        self._counter = itertools.count()
        self._own = OwnObjects()

    def __repr__(self) -> str:
        return f"LocalStorage({self._root!r})"

    def get(self, path: str) -> bytes:
        """Return the whole file; see ``ObjectSource``."""
        with self.open(path) as file:
            try:
                return file.read()
            except OSError as error:
                raise _refusal(self._root, path, error) from error

    def open(self, path: str) -> BinaryIO:
        """Open the file for reading; see ``ObjectSource``."""
        try:
            return open(f"{self._root}/{path}", "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"no {path} in the storage {self._root}") from error
        except OSError as error:
            raise _refusal(self._root, path, error) from error

    def exists(self, path: str) -> bool:
        """Tell whether the file is there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Return the file's size in bytes, ``None`` when it is not there."""
        try:
            return os.stat(f"{self._root}/{path}").st_size
        except OSError:
            return None

    def prepare(self) -> None:
        """Make ``data/00`` to ``data/ff`` and ``data/txn``, 257 folders in all."""
        try:
            for name in ("txn", *(f"{number:02x}" for number in range(256))):
                make_public_folder(Path(f"{self._root}/data/{name}"))
        except OSError as error:
            raise _refusal(self._root, "data", error) from error

    def put(self, path: str, data: bytes) -> bool:
        """Store an object; see ``Storage``."""
        found = self._own.find(f"{self._root}/{path}", len(data))
        if found is Found.THERE:
            return False
        temporary = self._temporary_name()
        try:
            descriptor = _create(temporary)
            try:
                try:
                    _write_all(descriptor, data)
                    self._own.stamp(descriptor)
                finally:
                    os.close(descriptor)  # NFS reports a full disk here, not earlier
                os.rename(temporary, f"{self._root}/{path}")
            except BaseException:
                _remove(temporary)
                raise
        except OSError as error:
            raise _refusal(self._root, path, error) from error
        if found is Found.ABSENT:
            self._own.note(path)
        return True

    @contextmanager
    def stage(self) -> Iterator["StagedFile"]:
        """Begin an object whose name is not known yet; see ``Storage``."""
        staged = StagedFile(self._root, self._temporary_name(), self._own)
        try:
            yield staged
        finally:
            staged.discard()

    def replace(self, path: str, data: bytes) -> None:
        """Replace a mutable file, synced with its folder; see ``Storage``."""
        temporary = self._temporary_name()
        try:
            descriptor = _create(temporary)
            try:
                try:
                    _write_all(descriptor, data)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.rename(temporary, f"{self._root}/{path}")
            except BaseException:
                _remove(temporary)
                raise
            with _folder(self._root) as descriptor:
                os.fsync(descriptor)
        except OSError as error:
            raise _refusal(self._root, path, error) from error

    def sync(self) -> None:
        """Flush the file system that holds the directory (``syncfs``)."""
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            with _folder(f"{self._root}/data") as descriptor:
                failed = libc.syncfs(descriptor) != 0
        except OSError as error:
            raise _refusal(self._root, "data", error) from error
        if failed:
            raise StorageFailed(
                f"{self._root}: syncfs: {os.strerror(ctypes.get_errno())}"
            )

    def list_objects(self, shard: str) -> Iterator[ListedObject]:
        """Yield the objects of one folder; see ``CollectableStorage``."""
        folder = f"data/{shard}"
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            yield ListedObject(
                                entry.name, status.st_size, status.st_mtime
                            )
        except OSError as error:
            raise _refusal(self._root, folder, error) from error

    def clock(self) -> float:
        """Return the time by the clock of the file system, which may be a server's."""
        temporary = self._temporary_name()
        try:
            os.close(_create(temporary))
            try:
                return os.stat(temporary).st_mtime
            finally:
                _remove(temporary)
        except OSError as error:
            raise _refusal(self._root, "data/txn", error) from error

    def delete_all(self, paths: Sequence[str], *, older_than: float) -> Sequence[str]:
        """Delete objects; see ``CollectableStorage``."""
        return [path for path in paths if self.delete(path, older_than=older_than)]

    def delete(self, path: str, *, older_than: float) -> bool:
        """Delete one object, and tell whether it was deleted."""
        target = f"{self._root}/{path}"
        try:
            if os.stat(target).st_mtime >= older_than:
                return False
            os.unlink(target)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _refusal(self._root, path, error) from error
        return True

    def own_objects(self) -> Iterator[str]:
        """Yield what was stored through this object; see ``KnowsItsOwn``."""
        return self._own.paths()

    def delete_own(self, paths: Sequence[str]) -> Sequence[str]:
        """Delete what nobody else has found; see ``KnowsItsOwn``."""
        targets = {path: f"{self._root}/{path}" for path in paths}
        going = [path for path in paths if self._own.bears_stamp(targets[path])]
        for path in going:
            try:
                os.unlink(targets[path])
            except OSError as error:
                raise _refusal(self._root, path, error) from error
        return going

    def forget_own(self) -> None:
        """Let what was stored be like everybody's; see ``KnowsItsOwn``."""
        self._own.forget()

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        """Hold the lock, a ``flock``: the kernel drops it with the holder's death.

        Also sweeps away what writers killed long ago left in ``data/txn``.
        """
        descriptor = self._lock_file()
        try:
            self._acquire(
                descriptor,
                self._patience_seconds
                if patience_seconds is None
                else patience_seconds,
            )
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self) -> int:
        """Open the lock's file; one that root makes is the folder's owner's.

        An operator's command is often run by root, and the service is not.
        """
        path = f"{self._root}/{_LOCK_FILE}"
        try:
            # Who may open it could hold up every commit.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.geteuid() == 0:
                owner = os.stat(os.path.dirname(path))  # noqa: PTH120
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise _refusal(self._root, _LOCK_FILE, error) from error
        return descriptor

    def _acquire(self, descriptor: int, patience_seconds: float) -> None:
        """Wait for the lock; by polling, as a holder that hangs must not hang us."""
        deadline = time.monotonic() + patience_seconds
        pause_seconds = 0.001
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise RepositoryBusy(
                        f"{self._root}: another commit has held the lock for"
                        f" {patience_seconds:g} s"
                    ) from error
            except OSError as error:
                raise _refusal(self._root, _LOCK_FILE, error) from error
            else:
                return
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, 0.05)

    def _sweep(self) -> None:
        oldest = time.time() - _LEFTOVER_SECONDS
        # What cannot be swept now is swept next time; it harms nobody.
        with suppress(OSError), os.scandir(f"{self._root}/data/txn") as entries:
            for entry in entries:
                if (
                    entry.name.startswith(_TEMPORARY_PREFIX)
                    and entry.stat().st_mtime < oldest
                ):
                    _remove(entry.path)

    def _temporary_name(self) -> str:
        number = next(self._counter)
        name = f"{_TEMPORARY_PREFIX}{self._token}-{os.getpid():x}-{number:x}"
        return f"{self._root}/data/txn/{name}"


class StagedFile:
    """A ``StagedObject`` in ``data/txn``."""

    def __init__(self, root: str, temporary: str, own: OwnObjects) -> None:
        self._root = root
        self._temporary = temporary
        self._own = own
        self._size = 0
        try:
            self._descriptor = _create(temporary)
        except OSError as error:
            raise _refusal(self._root, "data/txn", error) from error

    def write(self, data: bytes) -> None:
        """Append stored bytes; see ``StagedObject``."""
        try:
            _write_all(self._descriptor, data)
        except OSError as error:
            raise _refusal(self._root, "data/txn", error) from error
        self._size += len(data)

    def publish(self, path: str) -> bool:
        """Close the file and give it its name; see ``StagedObject``."""
        target = f"{self._root}/{path}"
        try:
            self._own.stamp(self._descriptor)
            self._close()
            found = self._own.find(target, self._size)
            if found is Found.THERE:
                return False
            os.rename(self._temporary, target)
        except OSError as error:
            raise _refusal(self._root, path, error) from error
        if found is Found.ABSENT:
            self._own.note(path)
        return True

    def discard(self) -> None:
        """Close and remove what was not published."""
        with suppress(OSError):
            self._close()
        _remove(self._temporary)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def _folder(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_public_folder(path: Path) -> None:
    """Make a folder that everybody may read, and those above it, whatever the umask.

    What is there already stays as it is.
    """
    if path.is_dir():
        return
    make_public_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o755)
        path.chmod(0o755)


def _create(path: str) -> int:
    """Create a file that a web server of another account may serve, too."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    os.fchmod(descriptor, 0o644)
    return descriptor


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; one call may write less (2 GiB, signals, quotas)."""
    written = os.write(descriptor, data)
    if written != len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _refusal(root: str, path: str, error: OSError) -> StorageFailed:
    return StorageFailed(f"{root}/{path}: {error.strerror or error}")
