"""A reflog that fell behind or ran ahead is put right by the next commit."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.repositories.crashing_storage import (
    MORE_THAN_ALL_WRITES,
    CrashingStorage,
    SimulatedCrash,
    crash_with_an_error,
)
from tests.support.repositories.independent_audit import (
    audit,
    raw_reflog,
    snapshot_of_files,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
    new_repository,
)
from workers.cvmfs import (
    LocalStorage,
    PutLink,
    Repository,
    Revision,
)


def publish(repository: Repository) -> Revision:
    return repository.commit([PutLink(b"/link", b"target")], now=NOW + 10)


def repository_on(storage: LocalStorage | CrashingStorage) -> Repository:
    return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)


def count_writes(base: Path, run: Callable[[CrashingStorage], object]) -> int:
    storage = CrashingStorage(base, MORE_THAN_ALL_WRITES, crash_with_an_error)
    run(storage)
    return MORE_THAN_ALL_WRITES - storage.writes_left


def test_a_reflog_that_is_ahead_is_repaired_by_a_commit_that_changes_nothing(
    tmp_path: Path,
) -> None:
    new_repository(tmp_path)
    writes = count_writes(tmp_path, lambda storage: publish(repository_on(storage)))
    base = tmp_path / "killed"
    new_repository(base)
    with pytest.raises(SimulatedCrash):
        publish(repository_on(CrashingStorage(base, writes - 1, crash_with_an_error)))
    with pytest.raises(AssertionError):
        audit(base)
    revision = repository_on(LocalStorage(base)).commit([], now=NOW + 20)
    assert not revision.is_new
    assert revision.number == 1
    assert audit(base).fields["S"] == "1"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


@pytest.mark.parametrize("damage", ["ahead", "missing", "junk", "of another"])
@pytest.mark.parametrize("changes", [[], [PutLink(b"/link", b"new")]])
def test_the_next_commit_repairs_the_reflog_whatever_it_does_otherwise(
    repository: Repository, tmp_path: Path, damage: str, changes: list[PutLink]
) -> None:
    for number in range(3):
        repository.commit([PutLink(b"/link", b"%d" % number)], now=NOW + number)
    before = raw_reflog(tmp_path)
    roots = {digest for digest, kind in before.items() if kind == 0}
    path = tmp_path / ".cvmfsreflog"
    if damage == "ahead":
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO refs VALUES (?, 0, 5)", ("ab" * 20,))
        connection.commit()
        connection.close()
        roots.add("ab" * 20)
    elif damage == "missing":
        path.unlink()
    elif damage == "junk":
        path.write_bytes(b"junk")
    else:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE properties SET value='x' WHERE key='fqrn'")
        connection.commit()
        connection.close()
    revision = repository.commit(changes, now=NOW + 10)
    assert revision.is_new is bool(changes)
    assert revision.number == 4 + bool(changes)
    found = audit(tmp_path)
    assert found.fields["S"] == str(revision.number)
    after = raw_reflog(tmp_path)
    assert roots <= {digest for digest, kind in after.items() if kind == 0}
    again = snapshot_of_files(tmp_path)
    assert not repository.commit([], now=NOW + 11).is_new
    assert snapshot_of_files(tmp_path) == again
