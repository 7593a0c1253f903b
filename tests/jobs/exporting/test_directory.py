"""A tree becomes a directory of this machine, without what only a catalog needs."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    NOW,
    new_repository,
    wide_tree,
)
from workers.cvmfs import GraftTree, PreparedTree, Repository, Tree
from workers.cvmfs.catalog.cutting import CutSize
from workers.exporting import export_directory

PLACE = b"/.flat/ab/abcdef"
TINY = CutSize(whole=12, most=6, least=3)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def graft(repository: Repository, tree: Tree, size: CutSize = TINY) -> PreparedTree:
    prepared = repository.prepare(PLACE, tree, size)
    repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    return prepared


def test_a_cut_tree_is_exported_without_its_markers(
    repository: Repository, tmp_path: Path
) -> None:
    graft(repository, wide_tree(repository.sink))
    target = tmp_path / "exported"
    export_directory(repository.read(), PLACE, target)
    found = {str(path.relative_to(target)) for path in target.rglob("*")}
    tree = wide_tree(repository.sink)
    assert found == {
        (path + b"/" + name if path else name).decode()
        for path, entries in tree.directories.items()
        for name in entries
    }
