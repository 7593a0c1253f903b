"""A tree is told entry by entry, in an order in which it can be written."""

import stat
from pathlib import Path

import pytest
from hypothesis import given

from tests.support.repositories.drawn_trees import trees
from tests.support.repositories.repository_builders import (
    NOW,
    directory,
    file,
    new_repository,
    small_tree,
)
from workers.archives.entries import (
    ArchiveEntry,
    linked,
    prepared,
    published,
)
from workers.cvmfs import Content, GraftTree, Tree

PLACE = b"/.flat/ab/abcdef"
SOME = Content(b"h" * 20, 1)


@pytest.mark.slow
def test_a_published_tree_is_told_as_it_was_before_it_was_published(
    tmp_path: Path,
) -> None:
    repository = new_repository(tmp_path)
    tree = small_tree(repository.sink)
    graft = GraftTree(PLACE, repository.prepare(PLACE, tree))
    repository.commit([graft], now=NOW)
    before = list(prepared(tree))
    after = list(published(repository.read().walk(PLACE), PLACE))
    assert [(one.path, one.first) for one in after] == [
        (one.path, one.first) for one in before
    ]
    # Catalogs number groups of hard links anew.
    assert [one.dirent._replace(link_group=0) for one in after] == [
        one.dirent._replace(link_group=0) for one in before
    ]


@given(trees())
def test_directories_come_before_what_is_in_them_and_names_come_sorted(
    tree: Tree,
) -> None:
    entries = list(prepared(tree))
    assert entries[0].path == b""
    assert len(entries) == 1 + sum(map(len, tree.directories.values()))
    made: set[bytes] = set()
    last: dict[bytes, bytes] = {}
    for path, dirent, _ in entries:
        if path:
            parent, _, name = path.rpartition(b"/")
            assert parent in made
            assert last.get(parent, b"") < name
            last[parent] = name
        if stat.S_ISDIR(dirent.mode):
            made.add(path)


def test_later_names_of_a_file_say_which_came_first() -> None:
    hard = file(SOME, link_group=1)
    pairs = [(path, hard) for path in (b"d/a", b"d/b", b"d/c")]
    assert [one.first for one in linked(pairs)] == [b"", b"d/a", b"d/a"]


def test_equal_numbers_in_two_directories_are_two_groups() -> None:
    hard = file(SOME, link_group=1)
    pairs = [(path, hard) for path in (b"d/a", b"e/a", b"a")]
    assert [one.first for one in linked(pairs)] == [b"", b"", b""]


def test_markers_of_catalogs_are_no_part_of_an_image() -> None:
    pairs = [(b".cvmfscatalog", file(SOME)), (b"d/.cvmfscatalog", file(SOME))]
    kept = ArchiveEntry(b"d/.cvmfscatalogs", file(SOME))
    assert list(linked([*pairs, (kept.path, kept.dirent)])) == [kept]


def test_an_attribute_that_no_catalog_holds_is_not_in_an_archive_either() -> None:
    small, large = (b"user.small", b"v"), (b"user.large", b"v" * 256)
    entries = {
        b"both": file(SOME)._replace(xattrs=(large, small)),
        b"large": file(SOME)._replace(xattrs=(large,)),
    }
    told = list(prepared(Tree(directory(), {b"": entries})))
    assert [one.dirent.xattrs for one in told] == [(), (small,), ()]
