"""The way back: an old revision under a new number."""

from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    IMAGE,
    StorageWithHook,
    collect,
    contents,
    findings,
    publish,
    repository_at,
)
from tests.support.repositories.independent_audit import audit
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import LocalStorage, NotFound, Retention, add_tag, roll_back

ONE, TWO, THREE = IMAGE + b"/one", IMAGE + b"/two", IMAGE + b"/three"


def three_revisions(base: Path) -> None:
    """Publish three images in a row; the first one is tagged, as revision 2."""
    repository = new_repository(base)
    publish(repository, b"one", now=NOW + 1)
    add_tag(FQRN, LocalStorage(base), keys(), "first", now=NOW + 2)
    publish(repository, b"two", now=NOW + 3)
    publish(repository, b"three", now=NOW + 4)


@pytest.mark.parametrize(
    ("target", "path"),
    [("first", ONE), ("2", ONE), ("3", TWO), ("trunk-previous", TWO), ("4", THREE)],
)
def test_an_old_revision_is_published_under_a_higher_number(
    tmp_path: Path, target: str, path: bytes
) -> None:
    three_revisions(tmp_path)
    repository = repository_at(tmp_path)
    before = repository.head()
    done = roll_back(FQRN, LocalStorage(tmp_path), keys(), target, now=NOW + 5)
    assert repository.head() == done
    assert done.revision == before.revision + 1
    assert done.timestamp == NOW + 5
    snapshot = repository.read()
    assert contents(snapshot) == {
        path: b"content of " + path.rpartition(b"/")[2],
        b"/.flat/.cvmfscatalog": b"",
        b"/.flat/ab/.cvmfscatalog": b"",
        IMAGE + b"/.cvmfscatalog": b"",
    }
    assert snapshot.root_catalog.previous_revision == before.root_catalog
    assert snapshot.root_catalog.revision == done.revision
    tags = {tag.name: tag.revision for tag in repository.tags()}
    assert tags == {"trunk": 5, "trunk-previous": 4, "first": 2}
    audit(tmp_path)
    assert findings(tmp_path) == []
    # Publishing goes on from there.
    publish(repository, b"four", now=NOW + 6)
    assert repository.head().revision == 6
    audit(tmp_path)


def test_a_number_that_only_a_tag_has_is_found(tmp_path: Path) -> None:
    three_revisions(tmp_path)
    collect(tmp_path, Retention(newest=1, seconds=0, grace_seconds=0))
    with pytest.raises(NotFound, match="no revision 1 "):
        roll_back(FQRN, LocalStorage(tmp_path), keys(), "1", now=NOW + 5)
    roll_back(FQRN, LocalStorage(tmp_path), keys(), "2", now=NOW + 5)
    assert ONE in contents(repository_at(tmp_path).read())
    assert findings(tmp_path) == []


@pytest.mark.slow
def test_what_was_rolled_back_from_is_collected_in_its_time(tmp_path: Path) -> None:
    three_revisions(tmp_path)
    roll_back(FQRN, LocalStorage(tmp_path), keys(), "first", now=NOW + 5)
    line = Retention(newest=4, seconds=0, grace_seconds=0)
    # The new one, 4, 3 and 2, which the line still leads through.
    assert collect(tmp_path, line).revisions_kept == 4
    roll_back(FQRN, LocalStorage(tmp_path), keys(), "3", now=NOW + 6)
    assert TWO in contents(repository_at(tmp_path).read())
    publish(repository_at(tmp_path), b"four", now=NOW + 7)
    collect(tmp_path)
    assert findings(tmp_path) == []


@pytest.mark.slow
def test_rolling_back_can_fail_at_any_write(tmp_path: Path) -> None:
    three_revisions(tmp_path / "count")
    counting = StorageWithHook(tmp_path / "count", lambda _: None)
    roll_back(FQRN, counting, keys(), "first", now=NOW + 5)
    assert counting.writes > 4
    for number in range(counting.writes):
        base = tmp_path / str(number)
        three_revisions(base)

        def end(storage: StorageWithHook, number: int = number) -> None:
            if storage.writes == number:
                raise KeyboardInterrupt

        storage = StorageWithHook(base, end)
        with pytest.raises(KeyboardInterrupt):
            roll_back(FQRN, storage, keys(), "first", now=NOW + 5)
        assert repository_at(base).head().revision == 4
        assert THREE in contents(repository_at(base).read())
        roll_back(FQRN, LocalStorage(base), keys(), "first", now=NOW + 6)
        assert ONE in contents(repository_at(base).read())
        assert findings(base) == []
