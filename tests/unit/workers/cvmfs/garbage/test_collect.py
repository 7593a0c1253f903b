"""What nobody names goes, what anybody names stays, and nobody is ever harmed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    AT_ONCE,
    IMAGE,
    LATER,
    StorageWithHook,
    collect,
    contents,
    findings,
    image,
    leak,
    objects,
    publish,
    repository_at,
    repository_on,
    set_age,
    two_revisions,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import (
    ContentCollected,
    Damaged,
    FormatError,
    GraftTree,
    InvalidChange,
    LocalStorage,
    NestedCatalog,
    PutLink,
    RemovePath,
    Retention,
    collect_garbage,
)
from workers.cvmfs.garbage.progress import EXPIRED, LEAKED
from workers.cvmfs.revisions.reflog import Reflog
from workers.cvmfs.storage.deletion_mark import deletion_mark
from workers.cvmfs.storage.storage import MANIFEST, REFLOG
from workers.cvmfs.values.hash import ContentHash, Kind

DAY = 24 * 3600


class Ended(BaseException):
    """Not an Exception, so that nobody takes it for something to be handled."""


def test_leaks_and_expired_revisions_go_and_what_is_shared_stays(
    tmp_path: Path,
) -> None:
    two_revisions(tmp_path)
    before = contents(repository_at(tmp_path).read())
    head = repository_at(tmp_path).head()

    done = collect(tmp_path)

    # The content of "old"; that of "leaked"; catalogs of the former and the latter.
    assert done.garbage["files", EXPIRED].objects == 1
    assert done.garbage["files", LEAKED].objects == 1
    assert done.garbage["catalogs", LEAKED].objects == 1
    assert done.deleted.objects == sum(pile.objects for pile in done.garbage.values())
    assert done.deleted.bytes == sum(pile.bytes for pile in done.garbage.values())
    assert len(objects(tmp_path)) == done.kept.objects
    assert contents(repository_at(tmp_path).read()) == before
    after = repository_at(tmp_path).head()
    assert after.revision == head.revision
    assert after.root_catalog == head.root_catalog
    assert after.reflog != head.reflog
    assert findings(tmp_path) == []
    again = collect(tmp_path)
    assert again.garbage == {}
    assert again.revisions_given_up == ()
    assert repository_at(tmp_path).head() == after


def test_a_dry_run_finds_the_same_and_changes_nothing(tmp_path: Path) -> None:
    two_revisions(tmp_path)
    before = objects(tmp_path), (tmp_path / MANIFEST).read_bytes()
    planned = collect(tmp_path, dry_run=True)
    assert (objects(tmp_path), (tmp_path / MANIFEST).read_bytes()) == before
    assert planned.deleted.objects == 0
    assert planned.garbage
    done = collect(tmp_path)
    assert done.garbage == planned.garbage
    assert done.revisions_given_up == planned.revisions_given_up


def test_what_was_put_within_the_grace_time_is_left_alone(tmp_path: Path) -> None:
    two_revisions(tmp_path)
    set_age(tmp_path, DAY - 1)
    retention = Retention(newest=1, seconds=0, grace_seconds=DAY)
    done = collect(tmp_path, retention)
    assert done.deleted.objects == 0
    assert done.young.objects > 0
    set_age(tmp_path, DAY + 1)
    assert collect(tmp_path, retention).deleted == done.young


def test_what_is_put_again_becomes_young_again(tmp_path: Path) -> None:
    new_repository(tmp_path)
    leak(repository_at(tmp_path), b"leaked")
    for name in objects(tmp_path):
        os.utime(tmp_path / "data" / name, (NOW - 9**9, NOW - 9**9))
    leak(repository_at(tmp_path), b"leaked")
    storage = LocalStorage(tmp_path)
    content = repository_at(tmp_path).sink.put_bytes(b"content of leaked")
    assert content.hash is not None
    path = ContentHash(content.hash).path(Kind.BULK)
    assert not storage.delete(path, older_than=NOW - 9**9 + 1)
    assert storage.exists(path)


def test_prepared_trees_of_running_jobs_can_be_named(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    path = b"/.flat/ab/running"
    tree = repository.prepare(path, image(repository, b"running"))
    root = NestedCatalog(path, tree.hash, tree.size)
    retention = Retention(newest=1, seconds=0, grace_seconds=0, extra_roots=(root,))
    assert collect(tmp_path, retention).deleted.objects == 0
    repository.commit([GraftTree(path, tree)], now=NOW + 1)
    assert findings(tmp_path) == []


@pytest.mark.parametrize("damage", ["missing", "garbled"])
def test_nothing_is_deleted_when_a_catalog_that_is_kept_cannot_be_read(
    tmp_path: Path, damage: str
) -> None:
    two_revisions(tmp_path)
    reference = repository_at(tmp_path).read().root_catalog.nested()[0]
    path = tmp_path / reference.hash.path(Kind.CATALOG)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" * path.stat().st_size)
    before = objects(tmp_path)
    with pytest.raises(Damaged, match=r"/\.flat"):
        collect(tmp_path)
    assert objects(tmp_path) == before


def test_a_listed_revision_that_is_gone_stops_the_collection(tmp_path: Path) -> None:
    two_revisions(tmp_path)
    previous = repository_at(tmp_path).read().root_catalog.previous_revision
    assert previous is not None
    (tmp_path / previous.path(Kind.CATALOG)).unlink()
    with pytest.raises(FormatError):
        collect(tmp_path)


def test_a_repository_that_forbids_it_is_not_collected(tmp_path: Path) -> None:
    new_repository(tmp_path)
    text = (tmp_path / MANIFEST).read_bytes()
    assert b"\nGyes\n" in text
    manifest = repository_at(tmp_path).head()
    forbidding = type(manifest).parse(text.replace(b"\nGyes\n", b"\nGno\n"))
    (tmp_path / MANIFEST).write_bytes(forbidding.sign(keys().repository_key))
    with pytest.raises(InvalidChange, match="Gno"):
        collect(tmp_path)


def test_an_empty_repository_can_be_collected_and_published_to(
    tmp_path: Path,
) -> None:
    repository = new_repository(tmp_path)
    assert collect(tmp_path).deleted.objects == 0
    # Makes nested catalogs, whose markers are empty files.
    repository.commit([PutLink(b"/registry/group/image", b"x")], now=NOW + 1)
    assert findings(tmp_path) == []


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    new_repository(tmp_path)
    foreign = tmp_path / "data" / "ab" / "README"
    foreign.write_text("whatever")
    assert collect(tmp_path).foreign == 1
    assert foreign.exists()


def publish_third(storage: LocalStorage | StorageWithHook) -> bool:
    """Publish content that lies about as garbage; tell whether it was let through."""
    repository = repository_on(storage)
    for _ in range(3):
        try:
            publish(repository, b"leaked", b"old", b"third", now=LATER + 1)
        except ContentCollected:
            continue
        return True
    return False


@pytest.mark.slow
def test_a_collection_at_any_point_of_a_publish_harms_nobody(tmp_path: Path) -> None:
    """Without any grace, before each thing that a publish asks of the storage."""
    point = 0
    is_reached = True
    while is_reached:
        base = tmp_path / str(point)
        two_revisions(base)
        calls = 0
        is_reached = False

        def interfere(
            storage: StorageWithHook, base: Path = base, point: int = point
        ) -> None:
            nonlocal calls, is_reached
            # Who holds the lock keeps collections out.
            if not storage.is_locked:
                if calls == point:
                    is_reached = True
                    collect(base)
                calls += 1

        storage = StorageWithHook(base, interfere)
        assert publish_third(storage)
        read = contents(repository_at(base).read())
        assert read[IMAGE + b"/leaked"] == b"content of leaked"
        assert read[IMAGE + b"/third"] == b"content of third"
        assert findings(base) == []
        point += 1
    assert point > 10


@pytest.mark.slow
def test_what_is_published_between_two_batches_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.cvmfs.garbage.collect._BATCH", 1)
    two_revisions(tmp_path)
    plan = collect(tmp_path, dry_run=True)
    batches = sum(pile.objects for pile in plan.garbage.values())
    for point in range(batches + 2):
        base = tmp_path / str(point)
        two_revisions(base)
        locks = 0

        def interfere(
            _: StorageWithHook, base: Path = base, point: int = point
        ) -> None:
            nonlocal locks
            if locks == point:
                assert publish_third(LocalStorage(base))
            locks += 1

        storage = LockWatch(base, interfere)
        collect_garbage(FQRN, storage, keys(), now=LATER + 2, retention=AT_ONCE)
        assert locks > point or point > batches
        assert findings(base) == []
        read = contents(repository_at(base).read())
        assert (IMAGE + b"/leaked" in read) is (locks > point)


class LockWatch(StorageWithHook):
    """Calls back before the lock is taken, and at no other time."""

    def _before(self) -> None:
        self.writes += 1

    def get(self, path: str) -> bytes:
        return self.inner.get(path)

    def exists(self, path: str) -> bool:
        return self.inner.exists(path)

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        self.callback(self)
        with super().lock(patience_seconds=patience_seconds):
            yield


def collect_on(storage: StorageWithHook) -> None:
    collect_garbage(FQRN, storage, keys(), now=LATER, retention=AT_ONCE)


def check_left_by_a_collection(base: Path) -> None:
    """Whatever ended it: readers see no harm, and the next one finishes."""
    # A reflog that is ahead of the manifest is mended by the next writer.
    assert [text for text in findings(base) if REFLOG not in text] == []
    contents(repository_at(base).read())
    collect(base)
    assert findings(base) == []
    assert collect(base).garbage == {}
    assert deletion_mark(LocalStorage(base)) is not None
    assert publish_third(LocalStorage(base))
    assert findings(base) == []


def writes_of_a_collection(base: Path) -> int:
    two_revisions(base)
    storage = StorageWithHook(base, lambda _: None)
    collect_on(storage)
    assert storage.writes > 8
    return storage.writes


@pytest.mark.slow
def test_a_collection_can_fail_at_any_write_and_deletion(tmp_path: Path) -> None:
    for number in range(writes_of_a_collection(tmp_path / "count")):
        base = tmp_path / str(number)
        two_revisions(base)

        def end(storage: StorageWithHook, number: int = number) -> None:
            if storage.writes == number:
                raise Ended

        storage = StorageWithHook(base, end)
        with pytest.raises(Ended):
            collect_on(storage)
        check_left_by_a_collection(base)


@pytest.mark.slow
def test_a_collection_can_be_killed_at_any_write_and_deletion(tmp_path: Path) -> None:
    for number in range(writes_of_a_collection(tmp_path / "count")):
        base = tmp_path / str(number)
        two_revisions(base)
        child = os.fork()
        if child == 0:

            def end(storage: StorageWithHook, number: int = number) -> None:
                if storage.writes == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            storage = StorageWithHook(base, end)
            collect_on(storage)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        check_left_by_a_collection(base)


def _publish_and_remove(base: Path, number: int, rounds: int) -> None:
    for turn in range(rounds):
        repository = repository_at(base)
        path = b"/.flat/ab/of-%d" % number
        for _ in range(100):
            try:
                texts = (b"shared", b"turn %d" % (turn % 2))
                publish(repository, *texts, path=path, now=NOW + 1)
                break
            except ContentCollected:
                continue
        else:
            os._exit(1)
        if turn % 2:
            repository.commit([RemovePath(path)], now=NOW + 1)
    os._exit(0)


@pytest.mark.slow
def test_collections_beside_publishers_break_no_commit(tmp_path: Path) -> None:
    """Processes publish and remove the same contents while others are collected."""
    new_repository(tmp_path)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            _publish_and_remove(tmp_path, number, 21)
        children.append(child)
    statuses: list[int] = []
    collected = 0
    while children:
        collected += collect(tmp_path).deleted.objects
        for child in children[:]:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                children.remove(child)
                statuses.append(status)
    assert statuses == [0, 0, 0]
    assert findings(tmp_path) == []
    read = contents(repository_at(tmp_path).read())
    for number in range(3):
        assert read[b"/.flat/ab/of-%d/shared" % number] == b"content of shared"
    collected += collect(tmp_path).deleted.objects
    assert collected > 0
    assert findings(tmp_path) == []


def test_a_lost_reflog_is_made_again(tmp_path: Path) -> None:
    two_revisions(tmp_path)
    collect(tmp_path, Retention(newest=3, seconds=0, grace_seconds=0))
    (tmp_path / REFLOG).unlink()
    collect(tmp_path)
    assert findings(tmp_path) == []
    reflog = Reflog((tmp_path / REFLOG).read_bytes(), FQRN)
    roots = [one for one in reflog.references() if one.type == 0]
    reflog.close()
    assert len(roots) == 2  # the current one and trunk-previous
