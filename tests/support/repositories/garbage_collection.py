"""A repository with revisions to be collected, and storages that end or interfere."""

import atexit
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO

from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    directory,
    file,
    is_mountpoint,
    keys,
    new_repository,
)
from workers.cvmfs import (
    Collection,
    GraftTree,
    LocalStorage,
    Repository,
    Retention,
    Revision,
    Snapshot,
    Tree,
    collect_garbage,
)
from workers.cvmfs.checking.check import check
from workers.cvmfs.storage.storage import ListedObject, StagedObject

IMAGE = b"/.flat/ab/image"
LATER = NOW + 20 * 24 * 3600  # within the whitelist's time
AT_ONCE = Retention(newest=1, seconds=0, grace_seconds=0)


class StorageWithHook:
    """A local directory that calls back before it does anything.

    Attributes:
        is_locked: whether its user holds the lock.
        writes: how much has been written or deleted so far.
    """

    def __init__(self, base: Path, before: "Callable[[StorageWithHook], None]") -> None:
        self.inner = LocalStorage(base, patience_seconds=60)
        self.callback = before
        self.is_locked = False
        self.writes = 0

    def _before(self) -> None:
        self.callback(self)
        self.writes += 1

    def get(self, path: str) -> bytes:
        self.callback(self)
        return self.inner.get(path)

    def open(self, path: str) -> BinaryIO:
        return self.inner.open(path)

    def exists(self, path: str) -> bool:
        self.callback(self)
        return self.inner.exists(path)

    def prepare(self) -> None:
        self._before()
        self.inner.prepare()

    def put(self, path: str, data: bytes) -> bool:
        self._before()
        return self.inner.put(path, data)

    @contextmanager
    def stage(self) -> Iterator[StagedObject]:
        self._before()
        with self.inner.stage() as staged:
            yield staged

    def replace(self, path: str, data: bytes) -> None:
        self._before()
        self.inner.replace(path, data)

    def sync(self) -> None:
        self.inner.sync()

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        self._before()
        with self.inner.lock(patience_seconds=patience_seconds):
            self.is_locked = True
            try:
                yield
            finally:
                self.is_locked = False

    def list_objects(self, shard: str) -> Iterator[ListedObject]:
        return self.inner.list_objects(shard)

    def clock(self) -> float:
        return self.inner.clock()

    def delete_all(self, paths: Sequence[str], *, older_than: float) -> Sequence[str]:
        deleted = []
        for path in paths:
            self._before()
            if self.inner.delete(path, older_than=older_than):
                deleted.append(path)
        return deleted


def repository_on(storage: LocalStorage | StorageWithHook) -> Repository:
    return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)


def repository_at(base: Path) -> Repository:
    return repository_on(LocalStorage(base))


def image(repository: Repository, *texts: bytes) -> Tree:
    """Return a tree with a file of each text."""
    sink = repository.sink
    files = {text: file(sink.put_bytes(b"content of " + text)) for text in texts}
    return Tree(directory(), {b"": files})


def publish(
    repository: Repository, *texts: bytes, path: bytes = IMAGE, now: int = NOW
) -> Revision:
    prepared = repository.prepare(path, image(repository, *texts))
    return repository.commit([GraftTree(path, prepared)], now=now)


def leak(repository: Repository, *texts: bytes) -> None:
    """Prepare something that nobody commits."""
    repository.prepare(b"/.flat/ab/leaked", image(repository, *texts))


def two_revisions(base: Path) -> None:
    """Publish an image twice, sharing a file, and leave a third one unpublished.

    It is made once per run and copied: commits take their time to reach the disk.
    """
    shutil.copytree(_template(), base, dirs_exist_ok=True)


@cache
def _template() -> Path:
    base = Path(mkdtemp())
    atexit.register(shutil.rmtree, base)
    repository = new_repository(base)
    publish(repository, b"old", b"shared", now=NOW + 1)
    publish(repository, b"new", b"shared", now=NOW + 2)
    publish(repository, b"new", b"shared", b"more", now=NOW + 3)
    leak(repository, b"leaked", b"shared")
    return base


def collect(
    base: Path, retention: Retention = AT_ONCE, *, dry_run: bool = False
) -> Collection:
    return collect_garbage(
        FQRN,
        LocalStorage(base),
        keys(),
        now=LATER,
        retention=retention,
        dry_run=dry_run,
    )


def objects(base: Path) -> set[str]:
    return {
        f"{path.parent.name}/{path.name}"
        for path in (base / "data").glob("[0-9a-f][0-9a-f]/*")
    }


def contents(snapshot: Snapshot) -> dict[bytes, bytes]:
    """Read every file of a revision."""
    return {
        path: snapshot.read(dirent)
        for path, dirent in snapshot.walk()
        if dirent.content is not None
    }


def findings(base: Path) -> list[str]:
    found = check(LocalStorage(base), FQRN, [keys().public_key], now=NOW, contents=True)
    return [str(finding) for finding in found]


def set_age(base: Path, seconds_before_later: int) -> None:
    """Let all objects have been put so long before ``LATER``."""
    for name in objects(base):
        moment = LATER - seconds_before_later
        os.utime(base / "data" / name, (moment, moment))
