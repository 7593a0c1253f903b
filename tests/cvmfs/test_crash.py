"""A commit that is killed between any two writes.

Three sorts of end: an error at the n-th write, a SIGKILL there, and a power failure
that loses all that was not synced. After each, readers must see the old revision or the
new one, whole, and the next commit must succeed and leave nothing to repair.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.cvmfs_audit import audit, manifest_fields
from tests.support.cvmfs_repository import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    GraftTree,
    LocalStorage,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    Revision,
)
from workers.cvmfs.errors import NotFound
from workers.cvmfs.storage import StagedObject

PLACE = b"/.flat/ab/abcdef"
FIRST = b"/.flat/ab/first"
MORE_THAN_ALL_WRITES = 1000


class Ended(BaseException):
    """Not an Exception, so that nobody takes it for something to be handled."""


class MortalStorage:
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


def end_with_an_error() -> None:
    raise Ended


def end_with_a_kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def publish(repository: Repository) -> Revision:
    prepared = repository.prepare(PLACE, small_tree(repository.sink, b"second"))
    content = repository.sink.put_bytes(b"metadata")
    return repository.commit(
        [
            GraftTree(PLACE, prepared),
            PutLink(b"/registry/group/image:tag", b"../../.flat/ab/abcdef"),
            PutFile(b"/plain/metadata", content),
            RemovePath(FIRST),
        ],
        now=NOW + 10,
    )


def with_first_image(base: Path) -> None:
    repository = new_repository(base)
    prepared = repository.prepare(FIRST, small_tree(repository.sink, b"first"))
    repository.commit([GraftTree(FIRST, prepared)], now=NOW)


def repository_on(storage: LocalStorage | MortalStorage) -> Repository:
    return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)


def count_writes(base: Path, run: Callable[[MortalStorage], object]) -> int:
    storage = MortalStorage(base, MORE_THAN_ALL_WRITES, end_with_an_error)
    run(storage)
    return MORE_THAN_ALL_WRITES - storage.writes_left


def check_readable(base: Path) -> bool:
    """Read every byte of the current revision; tell whether it is the new one."""
    snapshot = repository_on(LocalStorage(base)).read()
    paths = {}
    for path, dirent in snapshot.walk():
        paths[path] = snapshot.read(dirent) if dirent.content else b""
    is_new = snapshot.revision == 3
    assert (FIRST + b"/hello" in paths) is not is_new
    assert (PLACE + b"/hello" in paths) is is_new
    assert (b"/registry/group/image:tag" in paths) is is_new
    return is_new


def check_recovers(base: Path) -> None:
    """Publish again, as the job that died would be run again."""
    publish(repository_on(LocalStorage(base)))
    found = audit(base)
    assert found.contents[PLACE + b"/hello"] == b"second"
    assert found.contents[b"/plain/metadata"] == b"metadata"
    assert FIRST not in found.modes
    assert not publish(repository_on(LocalStorage(base))).is_new


def test_the_manifest_is_the_last_write_of_a_commit(tmp_path: Path) -> None:
    with_first_image(tmp_path)
    written = []

    class Noting(MortalStorage):
        def replace(self, path: str, data: bytes) -> None:
            super().replace(path, data)
            written.append((path, self.unsynced.copy()))

    publish(repository_on(Noting(tmp_path, MORE_THAN_ALL_WRITES, end_with_an_error)))
    assert written == [(".cvmfsreflog", []), (".cvmfspublished", [])]


def test_a_commit_can_fail_at_any_write(tmp_path: Path) -> None:
    def run(storage: MortalStorage) -> object:
        return publish(repository_on(storage))

    with_first_image(tmp_path / "count")
    writes = count_writes(tmp_path / "count", run)
    assert writes > 15
    for number in range(writes):
        base = tmp_path / str(number)
        with_first_image(base)
        with pytest.raises(Ended):
            run(MortalStorage(base, number, end_with_an_error))
        assert not check_readable(base)
        check_recovers(base)


def test_a_commit_can_be_killed_at_any_write(tmp_path: Path) -> None:
    with_first_image(tmp_path / "count")
    writes = count_writes(
        tmp_path / "count", lambda storage: publish(repository_on(storage))
    )
    for number in range(writes):
        base = tmp_path / str(number)
        with_first_image(base)
        child = os.fork()
        if child == 0:
            publish(repository_on(MortalStorage(base, number, end_with_a_kill)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert not check_readable(base)
        check_recovers(base)


@pytest.mark.parametrize("lost", ["cut", "empty", "gone"])
def test_power_can_fail_at_any_write(tmp_path: Path, lost: str) -> None:
    with_first_image(tmp_path / "count")
    writes = count_writes(
        tmp_path / "count", lambda storage: publish(repository_on(storage))
    )
    for number in range(writes):
        base = tmp_path / str(number)
        with_first_image(base)
        storage = MortalStorage(base, number, end_with_an_error)
        with pytest.raises(Ended):
            publish(repository_on(storage))
        for path in storage.unsynced:
            if lost == "gone":
                path.unlink()
            else:
                os.truncate(path, path.stat().st_size // 2 if lost == "cut" else 0)
        assert not check_readable(base)
        check_recovers(base)


def test_making_a_repository_can_fail_at_any_write(tmp_path: Path) -> None:
    writes = count_writes(
        tmp_path / "count", lambda storage: new_repository(tmp_path, storage)
    )
    assert writes > 8
    for number in range(writes):
        base = tmp_path / str(number)
        with pytest.raises(Ended):
            new_repository(base, MortalStorage(base, number, end_with_an_error))
        with pytest.raises((NotFound, FileNotFoundError)):
            manifest_fields(base)
        new_repository(base)
        audit(base)


def test_a_reflog_that_is_ahead_is_repaired_by_a_commit_that_changes_nothing(
    tmp_path: Path,
) -> None:
    with_first_image(tmp_path)
    writes = count_writes(tmp_path, lambda storage: publish(repository_on(storage)))
    base = tmp_path / "killed"
    with_first_image(base)
    with pytest.raises(Ended):
        publish(repository_on(MortalStorage(base, writes - 1, end_with_an_error)))
    with pytest.raises(AssertionError):
        audit(base)
    revision = repository_on(LocalStorage(base)).commit([], now=NOW + 20)
    assert not revision.is_new
    assert revision.number == 2
    assert audit(base).fields["S"] == "2"
