"""What a catalog counts is what it holds, whatever came and went."""

import sqlite3
from pathlib import Path

import pytest

from tests.support.repositories.catalog_bytes import MOUNTPOINT, altered
from tests.support.repositories.independent_audit import Audit, audit, stored_object
from tests.support.repositories.repository_builders import (
    NOW,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    GraftTree,
    PreparedTree,
    RemovePath,
    Repository,
    Tree,
)
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.errors import (
    Malformed,
)

PLACE = b"/.flat/ab/abcdef"


@pytest.mark.parametrize("counter", ["self_regular", "subtree_external_file_size"])
def test_a_catalog_without_one_of_its_counters_is_refused(counter: str) -> None:
    catalog = Catalog(
        altered(f"DELETE FROM statistics WHERE counter='{counter}'"), MOUNTPOINT
    )
    with pytest.raises(Malformed, match=counter):
        _ = catalog.statistics


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def graft(repository: Repository, path: bytes, tree: Tree | None = None) -> GraftTree:
    if tree is None:
        tree = small_tree(repository.sink)
    return GraftTree(path, repository.prepare(path, tree))


def test_removing_an_image_gives_back_all_its_counters(
    repository: Repository, tmp_path: Path
) -> None:
    other = b"/.flat/ab/other"
    repository.commit([graft(repository, other)], now=NOW)
    without = rows_of_statistics(tmp_path, audit(tmp_path))
    repository.commit([graft(repository, PLACE)], now=NOW)
    repository.commit([RemovePath(PLACE)], now=NOW)
    found = audit(tmp_path)
    assert rows_of_statistics(tmp_path, found) == without
    assert not any(path.startswith(PLACE) for path in found.modes)


def rows_of_statistics(base: Path, found: Audit) -> dict[bytes, dict[str, int]]:
    result = {}
    for path, digest in found.catalogs.items():
        connection = sqlite3.connect(":memory:")
        connection.deserialize(stored_object(base, digest, "C"))
        result[path] = dict(connection.execute("SELECT * FROM statistics"))
        connection.close()
    return result


def test_prepared_trees_say_what_they_add(repository: Repository) -> None:
    prepared: PreparedTree = graft(repository, PLACE).prepared
    before = repository.read().root_catalog.statistics.total
    repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    after = repository.read().root_catalog.statistics.total
    added = after.minus(before)
    assert added.regular == prepared.counters.regular + 2  # and two markers of shards
    assert added.special == prepared.counters.special
    assert added.nested == 3
