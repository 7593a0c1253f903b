"""Which revisions stay readable, by tag, number and age."""

from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    IMAGE,
    collect,
    contents,
    findings,
    publish,
    repository_at,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import LocalStorage, NotFound, Retention, add_tag, remove_tag
from workers.cvmfs.values.hash import Kind

DAY = 24 * 3600


@pytest.mark.slow
def test_tags_keep_their_revisions_readable(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    publish(repository, b"old", now=NOW + 1)
    tag = add_tag(FQRN, LocalStorage(tmp_path), keys(), "release-1", now=NOW + 2)
    for number in range(3):
        publish(repository, b"new %d" % number, now=NOW + 3 + number)
    collect(tmp_path)
    old = repository_at(tmp_path).read_revision(tag.root_catalog)
    assert contents(old)[IMAGE + b"/old"] == b"content of old"
    remove_tag(FQRN, LocalStorage(tmp_path), keys(), "release-1", now=NOW + 9)
    collect(tmp_path)
    with pytest.raises(NotFound):
        contents(repository_at(tmp_path).read_revision(tag.root_catalog))
    assert findings(tmp_path) == []


@pytest.mark.parametrize("newest", [1, 3, 5])
def test_as_many_revisions_are_kept_as_were_asked_for(
    tmp_path: Path, newest: int
) -> None:
    repository = new_repository(tmp_path)
    made = [publish(repository, b"%d" % n, now=NOW + n) for n in range(1, 7)]
    done = collect(tmp_path, Retention(newest=newest, seconds=0, grace_seconds=0))
    # The tag trunk-previous keeps another one.
    assert done.revisions_kept == max(newest, 2)
    for revision in made[-newest:]:
        contents(repository.read_revision(revision.root_catalog))
    assert not LocalStorage(tmp_path).exists(made[0].root_catalog.path(Kind.CATALOG))


def test_young_revisions_are_kept_and_the_one_that_a_young_one_replaced(
    tmp_path: Path,
) -> None:
    repository = new_repository(tmp_path)
    days = (1, 2, 15, 18, 19)
    made = [publish(repository, b"%d" % n, now=NOW + n * DAY) for n in days]
    done = collect(tmp_path, Retention(newest=1, seconds=3 * DAY, grace_seconds=0))
    assert done.revisions_kept == 3
    for revision in made[2:]:
        contents(repository.read_revision(revision.root_catalog))
    given_up = {one.root_catalog: one.revision for one in done.revisions_given_up}
    assert given_up[made[1].root_catalog] == made[1].number
