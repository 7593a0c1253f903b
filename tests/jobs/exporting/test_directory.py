"""A tree becomes a directory of this machine, without what only a catalog needs."""

import stat
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    NOW,
    new_repository,
    wide_tree,
)
from workers.cvmfs import Dirent, GraftTree, PreparedTree, Repository, Tree
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


def test_what_a_file_system_cannot_hold_is_named_and_the_rest_is_there(
    repository: Repository, tmp_path: Path
) -> None:
    """macOS writes such attributes, and no Linux lets a symlink have one of a user."""
    content = repository.sink.put_bytes(b"mac")
    odd = ((b"com.apple.provenance", b"1"), (b"com.apple.quarantine", b"2"))
    names = {
        b"mac": Dirent(stat.S_IFREG | 0o644, content=content, xattrs=odd),
        b"link": Dirent(
            stat.S_IFLNK | 0o777, target=b"mac", xattrs=((b"user.note", b"x"),)
        ),
    }
    graft(repository, Tree(Dirent(stat.S_IFDIR | 0o755), {b"": names}))
    target = tmp_path / "exported"
    export = export_directory(repository.read(), PLACE, target)
    kind = "extended attributes"
    assert export.losses[kind] == 3
    first = export.first_losses[kind]
    assert first.startswith(("'user.note' of 'link' (", "'com.apple.provenance' of 'm"))
    assert (target / "mac").read_bytes() == b"mac"
    assert (target / "link").is_symlink()
