from pathlib import Path

import pytest

from tests.support.repositories.catalog_bytes import rows_of
from tests.support.repositories.repository_builders import (
    directory,
    file,
    link,
    new_repository,
    small_tree,
)
from workers.cvmfs import Content, Repository, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.errors import InvalidChange, InvalidPath, InvalidTree

PLACE = b"/.flat/ab/abcdef"
PLAIN = Content(bytes(range(20)), 5)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_the_same_tree_is_the_same_catalog_whenever_it_is_prepared(
    repository: Repository,
) -> None:
    first = repository.prepare(PLACE, small_tree(repository.sink))
    again = repository.prepare(PLACE, small_tree(repository.sink))
    assert again.hash == first.hash
    elsewhere = repository.prepare(PLACE + b"0", small_tree(repository.sink))
    assert elsewhere.hash != first.hash


def test_the_database_has_the_pages_the_clients_are_made_for() -> None:
    data = draft_catalog(PLACE, Tree(directory())).data
    assert int.from_bytes(data[16:18]) == 1024
    assert data[18:20] == b"\1\1"  # not write-ahead logging
    assert len(data) == 16384


def test_the_root_is_marked_and_nothing_else(repository: Repository) -> None:
    root = directory(mtime=7, mtime_ns=9, uid=1, gid=2)
    tree = Tree(root, {b"": {b"sub": directory()}, b"sub": {}})
    prepared = repository.prepare(PLACE, tree)
    assert prepared.counters.regular == 1
    rows = rows_of(draft_catalog(PLACE, tree).data)
    marker = rows[b".cvmfscatalog"]
    assert (marker["uid"], marker["gid"], marker["size"]) == (1, 2, 0)
    assert marker["hash"].hex() == "e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78"
    assert rows[b"abcdef"]["flags"] == 33
    assert rows[b"abcdef"]["mtimens"] == 9
    assert rows[b"abcdef"]["hardlinks"] == 3
    assert rows[b"sub"]["flags"] == 1


def test_names_that_belong_to_cvmfs_are_left_out_and_counted() -> None:
    marked = file(PLAIN)
    tree = Tree(
        directory(),
        {
            b"": {b".cvmfscatalog": marked, b"sub": directory()},
            b"sub": {b".cvmfscatalog": marked, b"kept": marked},
        },
    )
    draft = draft_catalog(PLACE, tree)
    assert draft.losses == {"reserved name .cvmfscatalog": 2}
    assert draft.statistics.own.regular == 2
    with pytest.raises(InvalidTree, match=r"has a directory \.cvmfscatalog"):
        draft_catalog(
            PLACE,
            Tree(
                directory(),
                {b"": {b".cvmfscatalog": directory()}, b".cvmfscatalog": {}},
            ),
        )


@pytest.mark.parametrize(
    "tree",
    [
        Tree(link(b"x")),
        Tree(directory(), {}),
        Tree(directory(), {b"": {b"missing": directory()}}),
        Tree(directory(), {b"": {}, b"orphan": {}}),
        Tree(directory(), {b"": {}, b"deep/orphan": {}}),
        Tree(directory(), {b"": {b"file": file(PLAIN)}, b"file": {}}),
    ],
)
def test_a_tree_that_contradicts_itself_is_refused(tree: Tree) -> None:
    with pytest.raises(InvalidTree):
        draft_catalog(PLACE, tree)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"", InvalidChange),
        (b"relative", InvalidPath),
        (b"/a/", InvalidPath),
        (b"/a/../b", InvalidPath),
        (b"/.cvmfs", InvalidChange),
        (b"/.cvmfs/x", InvalidChange),
        (b"/a/.cvmfscatalog", InvalidChange),
        (b"/\xff", InvalidTree),
    ],
)
def test_a_tree_has_no_place_there(
    repository: Repository, path: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        repository.prepare(path, Tree(directory()))
