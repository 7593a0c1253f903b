"""Names for revisions: given, listed, taken away, and never half so."""

from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    StorageWithHook,
    collect,
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
from workers.cvmfs import (
    InvalidChange,
    LocalStorage,
    NotFound,
    WhitelistExpired,
    add_tag,
    remove_tag,
)

MONTHS = 100 * 24 * 3600


def names(base: Path) -> list[str]:
    return [tag.name for tag in repository_at(base).tags()]


def test_a_tag_names_the_current_revision_and_stays_with_it(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    storage = LocalStorage(tmp_path)
    publish(repository, b"one", now=NOW + 1)
    head = repository.head()
    tag = add_tag(FQRN, storage, keys(), "one", now=NOW + 2, description="the first")
    after = repository.head()
    assert after.revision == head.revision
    assert after.root_catalog == head.root_catalog
    assert after.history != head.history
    publish(repository, b"two", now=NOW + 3)
    found = {known.name: known for known in repository.tags()}
    assert found["one"] == tag
    assert tag.revision == head.revision
    assert tag.root_catalog == head.root_catalog
    assert tag.description == "the first"
    audit(tmp_path)
    assert findings(tmp_path) == []
    remove_tag(FQRN, storage, keys(), "one", now=NOW + 4)
    assert names(tmp_path) == ["trunk", "trunk-previous"]
    audit(tmp_path)
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\tb", "a\n", "\N{NO-BREAK SPACE}", "trunk", "trunk-x", "n" * 256],
)
def test_some_names_are_refused(tmp_path: Path, name: str) -> None:
    repository = new_repository(tmp_path)
    before = repository.head()
    storage = LocalStorage(tmp_path)
    with pytest.raises(InvalidChange):
        add_tag(FQRN, storage, keys(), name, now=NOW + 1)
    with pytest.raises(InvalidChange):
        remove_tag(FQRN, storage, keys(), name, now=NOW + 1)
    assert repository.head() == before


def test_a_name_is_given_once_and_taken_away_once(tmp_path: Path) -> None:
    new_repository(tmp_path)
    storage = LocalStorage(tmp_path)
    add_tag(FQRN, storage, keys(), "one", now=NOW + 1)
    with pytest.raises(InvalidChange, match="already"):
        add_tag(FQRN, storage, keys(), "one", now=NOW + 2)
    remove_tag(FQRN, storage, keys(), "one", now=NOW + 3)
    with pytest.raises(NotFound, match="no tag 'one'"):
        remove_tag(FQRN, storage, keys(), "one", now=NOW + 4)


def test_nothing_is_signed_that_no_client_would_believe(tmp_path: Path) -> None:
    new_repository(tmp_path)
    with pytest.raises(WhitelistExpired):
        add_tag(FQRN, LocalStorage(tmp_path), keys(), "one", now=NOW + MONTHS)
    assert names(tmp_path) == ["trunk"]


class Ended(BaseException):
    """Not an Exception, so that nobody takes it for something to be handled."""


@pytest.mark.slow
def test_tagging_can_fail_at_any_write(tmp_path: Path) -> None:
    new_repository(tmp_path / "count")
    counting = StorageWithHook(tmp_path / "count", lambda _: None)
    add_tag(FQRN, counting, keys(), "one", now=NOW + 1)
    assert counting.writes > 3
    for number in range(counting.writes):
        base = tmp_path / str(number)
        new_repository(base)

        def end(storage: StorageWithHook, number: int = number) -> None:
            if storage.writes == number:
                raise Ended

        with pytest.raises(Ended):
            add_tag(FQRN, StorageWithHook(base, end), keys(), "one", now=NOW + 1)
        assert names(base) == ["trunk"]
        add_tag(FQRN, LocalStorage(base), keys(), "one", now=NOW + 2)
        assert names(base) == ["one", "trunk"]
        collect(base)
        assert findings(base) == []
