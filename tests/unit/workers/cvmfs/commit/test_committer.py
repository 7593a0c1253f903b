"""A commit that is killed between any two writes.

Three sorts of end: an error at the n-th write, a SIGKILL there, and a power failure
that loses all that was not synced. After each, readers must see the old revision or the
new one, whole, and the next commit must succeed and leave nothing to repair.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.repositories.crashing_storage import (
    MORE_THAN_ALL_WRITES,
    CrashingStorage,
    SimulatedCrash,
    crash_with_an_error,
    crash_with_sigkill,
)
from tests.support.repositories.independent_audit import audit
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    Batch,
    Committed,
    EditRecords,
    GraftTree,
    LocalStorage,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    Revision,
)
from workers.cvmfs.errors import InvalidChange

PLACE = b"/.flat/ab/abcdef"
FIRST = b"/.flat/ab/first"
GROUP = [b"one", b"two", b"three"]


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


def repository_on(storage: LocalStorage | CrashingStorage) -> Repository:
    return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)


def count_writes(base: Path, run: Callable[[CrashingStorage], object]) -> int:
    storage = CrashingStorage(base, MORE_THAN_ALL_WRITES, crash_with_an_error)
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

    class Noting(CrashingStorage):
        def replace(self, path: str, data: bytes) -> None:
            super().replace(path, data)
            written.append((path, self.unsynced.copy()))

    publish(repository_on(Noting(tmp_path, MORE_THAN_ALL_WRITES, crash_with_an_error)))
    assert written == [(".cvmfsreflog", []), (".cvmfspublished", [])]


@pytest.mark.slow
def test_a_commit_can_fail_at_any_write(tmp_path: Path) -> None:
    def run(storage: CrashingStorage) -> object:
        return publish(repository_on(storage))

    with_first_image(tmp_path / "count")
    writes = count_writes(tmp_path / "count", run)
    assert writes > 15
    for number in range(writes):
        base = tmp_path / str(number)
        with_first_image(base)
        with pytest.raises(SimulatedCrash):
            run(CrashingStorage(base, number, crash_with_an_error))
        assert not check_readable(base)
        check_recovers(base)


@pytest.mark.slow
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
            publish(repository_on(CrashingStorage(base, number, crash_with_sigkill)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert not check_readable(base)
        check_recovers(base)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["cut", "empty", "gone"])
def test_power_can_fail_at_any_write(tmp_path: Path, lost: str) -> None:
    with_first_image(tmp_path / "count")
    writes = count_writes(
        tmp_path / "count", lambda storage: publish(repository_on(storage))
    )
    for number in range(writes):
        base = tmp_path / str(number)
        with_first_image(base)
        storage = CrashingStorage(base, number, crash_with_an_error)
        with pytest.raises(SimulatedCrash):
            publish(repository_on(storage))
        for path in storage.unsynced:
            if lost == "gone":
                path.unlink()
            else:
                os.truncate(path, path.stat().st_size // 2 if lost == "cut" else 0)
        assert not check_readable(base)
        check_recovers(base)


@pytest.mark.slow
def test_a_list_and_its_index_are_those_of_one_revision(tmp_path: Path) -> None:
    path = b"/plain/list.json"
    records = [
        {"id": str(number), "names": [f"name {number}"]} for number in range(600)
    ]

    def edit(storage: LocalStorage | CrashingStorage) -> object:
        new = json.dumps({"id": "new", "names": ["name 7"]})
        changes = [EditRecords(path, (new,), ("name 7",))]
        return repository_on(storage).commit(changes, now=NOW)

    def listed(base: Path) -> dict[str, list[str]]:
        snapshot = repository_on(LocalStorage(base)).read()
        found = dict(snapshot.walk(b"/plain"))
        assert b"/plain/.list.json.index" in found
        read = json.loads(snapshot.read(found[path]))
        assert len(read) == len({one["id"] for one in read})
        return {one["id"]: one["names"] for one in read}

    old = tmp_path / "old"
    all_records = EditRecords(path, tuple(map(json.dumps, records)))
    new_repository(old).commit([all_records], now=NOW)
    shutil.copytree(old, tmp_path / "count")
    for number in range(count_writes(tmp_path / "count", edit)):
        base = tmp_path / str(number)
        shutil.copytree(old, base)
        with pytest.raises(SimulatedCrash):
            edit(CrashingStorage(base, number, crash_with_an_error))
        assert len(listed(base)) == 600
        edit(LocalStorage(base))
        assert len(listed(base)) == 601
        assert [key for key, names in listed(base).items() if "name 7" in names] == [
            "new"
        ]
        audit(base)


# Several batches in one commit.


def batch_of(repository: Repository, name: bytes) -> Batch:
    place = b"/.flat/ab/" + name
    prepared = repository.prepare(place, small_tree(repository.sink, name))
    link = PutLink(b"/registry/group/" + name, b"../../.flat/ab/" + name)
    told = PutFile(b"/plain/" + name, repository.sink.put_bytes(name))
    return repository.batch([GraftTree(place, prepared), told, link])


def commit_group(
    repository: Repository, batches: Sequence[Batch], refused: Sequence[Batch] = ()
) -> Committed:
    def confirm(going: Sequence[Batch]) -> Mapping[Batch, Exception]:
        return {batch: Refusal() for batch in going if batch in refused}

    with repository.storage.lock():
        return repository.commit_batches(batches, now=NOW + 10, confirm=confirm)


class Refusal(Exception):
    """Why a batch must not become visible."""


def live_in(base: Path) -> set[bytes]:
    """Return which images are there; each must be there whole or not at all."""
    snapshot = repository_on(LocalStorage(base)).read()
    live = set()
    for name in GROUP:
        paths = (b"/.flat/ab/%b/hello", b"/plain/%b", b"/registry/group/%b")
        found = [snapshot.lookup(path % name) for path in paths]
        if any(found):
            assert all(found)
            live.add(name)
    return live


@pytest.mark.slow
def test_a_group_can_be_killed_at_any_write(tmp_path: Path) -> None:
    def ready(base: Path) -> list[Batch]:
        with_first_image(base)
        return [batch_of(repository_on(LocalStorage(base)), name) for name in GROUP]

    batches = ready(tmp_path / "count")
    writes = count_writes(
        tmp_path / "count",
        lambda storage: commit_group(repository_on(storage), batches),
    )
    assert writes > 8
    for number in range(writes):
        base = tmp_path / str(number)
        batches = ready(base)
        child = os.fork()
        if child == 0:
            storage = CrashingStorage(base, number, crash_with_sigkill)
            commit_group(repository_on(storage), batches)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert live_in(base) == set()
        # Another leads, with what it reads of them from the queue.
        left = [Batch.decode(batch.encode()) for batch in batches[1:]]
        committed = commit_group(repository_on(LocalStorage(base)), left)
        assert committed.revision.number == 3
        assert committed.left_out == {}
        assert live_in(base) == set(GROUP[1:])
        audit(base)


def test_what_a_dead_leader_has_committed_is_in_force_and_changes_nothing(
    tmp_path: Path,
) -> None:
    with_first_image(tmp_path)
    repository = repository_on(LocalStorage(tmp_path))
    batches = [batch_of(repository, name) for name in GROUP]
    first = commit_group(repository, batches)
    again = [Batch.decode(batch.encode()) for batch in batches]
    second = commit_group(repository_on(LocalStorage(tmp_path)), again)
    assert not second.revision.is_new
    assert second.left_out == {}
    assert second.revision.root_catalog == first.revision.root_catalog
    assert live_in(tmp_path) == set(GROUP)
    # Nor does it with one more beside it that is new.
    more = repository.batch([PutLink(b"/more", b"x")])
    third = commit_group(repository, [*batches, more])
    assert third.revision.number == first.revision.number + 1
    assert audit(tmp_path).contents[b"/plain/one"] == b"one"


def test_a_batch_that_fails_or_is_refused_leaves_no_trace(tmp_path: Path) -> None:
    with_first_image(tmp_path)
    repository = repository_on(LocalStorage(tmp_path))
    one, two, three = (batch_of(repository, name) for name in GROUP)
    begun = PutLink(b"/begun/by/a/bad/one", b"x")
    bad = repository.batch([*three.changes, begun, PutLink(b"/plain/one/below", b"x")])
    committed = commit_group(repository, [one, bad, two], refused=[two])
    assert committed.revision.number == 3
    assert {type(error) for error in committed.left_out.values()} == {
        InvalidChange,
        Refusal,
    }
    assert set(committed.left_out) == {bad, two}
    assert live_in(tmp_path) == {b"one"}
    found = audit(tmp_path)
    assert not any(path.startswith(b"/begun") for path in found.modes)
    # If all are left out, there is nothing to publish.
    committed = commit_group(repository, [two, bad], refused=[two])
    assert not committed.revision.is_new
    assert len(committed.left_out) == 2
