import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    IMAGE,
    contents,
    findings,
    image,
    objects,
    publish,
    repository_at,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import ContentCollected, GraftTree
from workers.cvmfs.garbage.unpublished import Unpublished
from workers.cvmfs.storage.deletion_mark import deletion_mark

OTHER = b"/.flat/cd/other"
EMPTY_OBJECT = "e8/ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78"


class Run:
    """What one process stores in a repository that others write to as well."""

    def __init__(self, base: Path) -> None:
        self.repository = repository_at(base)
        self._unpublished = Unpublished(FQRN, self.repository.storage, keys())

    def prepare(self, path: bytes, *texts: bytes) -> Sequence[GraftTree]:
        prepared = self.repository.prepare(path, image(self.repository, *texts))
        return [GraftTree(path, prepared)]

    def fail(self) -> int:
        return self._unpublished.take_back(now=NOW + 9)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    new_repository(tmp_path)
    publish(repository_at(tmp_path), b"published", now=NOW + 1)
    return tmp_path


def age_of(base: Path, name: str) -> int:
    return (base / "data" / name).stat().st_mtime_ns


def test_a_run_that_fails_leaves_what_was_there(base: Path) -> None:
    before = objects(base)
    run = Run(base)
    run.prepare(OTHER, b"one", b"two", b"published")
    assert len(objects(base) - before) == 3  # two files and a catalog
    assert run.fail() == 3
    assert objects(base) == before
    assert findings(base) == []


def test_large_contents_are_taken_back_too(base: Path) -> None:
    before = objects(base)
    run = Run(base)
    for size in (2 << 20, 20 << 20):  # staged as a whole, and in chunks
        run.repository.sink.put_bytes(os.urandom(size))
    assert run.fail() == 1 + 3
    assert objects(base) == before


def test_a_run_that_stored_nothing_disturbs_nobody(base: Path) -> None:
    waits = Run(base)
    changes = waits.prepare(OTHER, b"one")
    failing = Run(base)
    failing.prepare(IMAGE, b"published")
    before, mark = objects(base), deletion_mark(failing.repository.storage)
    assert failing.fail() == 0
    assert objects(base) == before
    assert deletion_mark(failing.repository.storage) == mark
    waits.repository.commit(changes, now=NOW + 3)


def test_what_another_run_found_stays_and_that_run_goes_on(base: Path) -> None:
    failing, other = Run(base), Run(base)
    failing.prepare(OTHER, b"one", b"shared")
    changes = other.prepare(IMAGE, b"shared", b"own")
    assert failing.fail() == 2  # a file and the catalog
    other.repository.commit(changes, now=NOW + 3)
    assert contents(other.repository.read())[IMAGE + b"/shared"]
    assert findings(base) == []


def test_what_another_run_published_meanwhile_stays(base: Path) -> None:
    failing, other = Run(base), Run(base)
    failing.prepare(OTHER, b"shared", b"one")
    times = {name: age_of(base, name) for name in objects(base)}
    other.repository.commit(other.prepare(IMAGE, b"shared", b"own"), now=NOW + 3)
    # As if both had stored it at the same moment, and neither found the other's.
    for name, moment in times.items():
        os.utime(base / "data" / name, ns=(moment, moment))
    assert failing.fail() == 2
    assert contents(other.repository.read())[IMAGE + b"/shared"]
    assert findings(base) == []


def test_what_was_published_in_a_revision_that_is_no_longer_current_stays(
    base: Path,
) -> None:
    failing, other = Run(base), Run(base)
    failing.prepare(OTHER, b"shared")
    times = {name: age_of(base, name) for name in objects(base)}
    other.repository.commit(other.prepare(IMAGE, b"shared"), now=NOW + 3)
    root = other.repository.head().root_catalog
    other.repository.commit(other.prepare(IMAGE, b"new"), now=NOW + 4)
    for name, moment in times.items():
        os.utime(base / "data" / name, ns=(moment, moment))
    failing.fail()
    former = contents(other.repository.read_revision(root))
    assert former[IMAGE + b"/shared"] == b"content of shared"


def test_a_run_that_relies_on_it_all_the_same_begins_again(base: Path) -> None:
    failing, other = Run(base), Run(base)
    failing.prepare(OTHER, b"shared", b"one")
    times = {name: age_of(base, name) for name in objects(base)}
    changes = other.prepare(IMAGE, b"shared", b"own")
    for name, moment in times.items():
        os.utime(base / "data" / name, ns=(moment, moment))
    failing.fail()
    with pytest.raises(ContentCollected):
        other.repository.commit(changes, now=NOW + 3)
    other.repository.commit(other.prepare(IMAGE, b"shared", b"own"), now=NOW + 4)
    assert contents(other.repository.read())[IMAGE + b"/shared"]


def test_what_a_crash_left_broken_is_mended_for_good(base: Path) -> None:
    (name,) = (
        each
        for each in objects(base)
        if not each.endswith(("C", "H", "X", "M")) and each != EMPTY_OBJECT
    )
    whole = (base / "data" / name).read_bytes()
    (base / "data" / name).write_bytes(whole[:3])
    failing = Run(base)
    failing.prepare(OTHER, b"published")
    failing.fail()
    assert (base / "data" / name).read_bytes() == whole


def test_what_was_published_is_nobody_s_to_take_back(base: Path) -> None:
    run = Run(base)
    run.repository.commit(run.prepare(OTHER, b"one"), now=NOW + 3)
    assert run.fail() == 0
    assert contents(run.repository.read())[OTHER + b"/one"]
