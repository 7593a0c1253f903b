"""A tree that is read back from catalogs is the one that was written."""

from pathlib import Path

import pytest
from hypothesis import given

from tests.support.repositories.catalog_bytes import MOUNTPOINT, altered
from tests.support.repositories.drawn_trees import trees
from tests.support.repositories.repository_builders import (
    gathered,
    new_repository,
    nothing_nested,
    small_tree,
)
from workers.cvmfs import Repository, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import FormatError

PLACE = b"/.flat/ab/abcdef"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def written_and_read(tree: Tree) -> Tree:
    catalog = Catalog(draft_catalog(PLACE, tree).data, PLACE)
    return read_tree(catalog, nothing_nested)


def test_a_tree_read_back_is_the_same(repository: Repository) -> None:
    tree = small_tree(repository.sink)
    prepared = repository.prepare(PLACE, tree)
    assert gathered(repository.read_prepared(prepared)) == tree
    assert prepared.losses == {}


@given(trees())
def test_any_tree_read_back_is_the_same(tree: Tree) -> None:
    assert written_and_read(tree) == tree


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE catalog SET name=NULL WHERE name='file'",
        "UPDATE catalog SET name='..' WHERE name='file'",
        "UPDATE catalog SET name='a/b' WHERE name='link'",
        "UPDATE catalog SET name='' WHERE name='link'",
        "UPDATE catalog SET hash=x'00' WHERE hash IS NOT NULL",
        "UPDATE catalog SET hash=NULL",
        "UPDATE catalog SET size=1.5",
        "UPDATE catalog SET mode='x'",
        "UPDATE catalog SET mode=-1",
        "UPDATE catalog SET uid=NULL",
        "UPDATE catalog SET xattr=x'02'",
        "UPDATE catalog SET parent_1=1 WHERE name='link'",
        "UPDATE catalog SET parent_1='x' WHERE name='link'",
        "UPDATE catalog SET mode=33188 WHERE name='sub'",
        "DELETE FROM catalog WHERE name='place'",
        "DELETE FROM catalog WHERE name='sub'",
        "UPDATE catalog SET flags=3 WHERE name='sub'",
        "UPDATE chunks SET hash=NULL",
        "DROP TABLE chunks",
        "UPDATE catalog SET mode=33188 WHERE name='place'",
    ],
)
def test_a_tree_of_unsound_rows_is_refused(statement: str) -> None:
    with pytest.raises(FormatError):
        read_tree(Catalog(altered(statement), MOUNTPOINT), nothing_nested)
