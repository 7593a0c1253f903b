"""A storage that ends the world before its n-th write.

Every write of the format library is a call of its storage, so whoever lets the n-th
fail, for every n, has been everywhere a crash can be.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from workers.cvmfs import LocalStorage
from workers.cvmfs.storage.storage import StagedObject

MORE_THAN_ALL_WRITES = 1000


class SimulatedCrash(BaseException):
    """Not an Exception, so that nobody takes it for something to be handled."""


class CrashingStorage:
    """A storage that ends the world before its n-th write.

    Args:
        base: the directory.
        writes: how many writes come to pass.
        end: what happens then.
    """

    def __init__(self, base: Path, writes: int, end: Callable[[], None]) -> None:
        self._inner = LocalStorage(base)
        self._base = base
        self._writes = writes
        self._end = end
        self.unsynced: list[Path] = []

    @property
    def writes_left(self) -> int:
        return self._writes

    def _write(self) -> None:
        if self._writes == 0:
            self._end()
        self._writes -= 1

    def get(self, path: str) -> bytes:
        return self._inner.get(path)

    def open(self, path: str) -> BinaryIO:
        return self._inner.open(path)

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def prepare(self) -> None:
        self._write()
        self._inner.prepare()

    def put(self, path: str, data: bytes) -> bool:
        self._write()
        is_new = self._inner.put(path, data)
        if is_new:
            self.unsynced.append(self._base / path)
        return is_new

    @contextmanager
    def stage(self) -> Iterator[StagedObject]:
        self._write()
        with self._inner.stage() as staged:
            yield staged

    def replace(self, path: str, data: bytes) -> None:
        self._write()
        self._inner.replace(path, data)

    def sync(self) -> None:
        self._write()
        self._inner.sync()
        self.unsynced.clear()

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        self._write()
        with self._inner.lock(patience_seconds=patience_seconds):
            yield


def crash_with_an_error() -> None:
    raise SimulatedCrash


def crash_with_sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
