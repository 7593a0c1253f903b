"""Entries become rows: hard links, losses, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.catalog_bytes import rows_of
from tests.support.repositories.repository_builders import (
    directory,
    file,
    link,
    nothing_nested,
)
from workers.cvmfs import Chunk, Content, Dirent, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.catalog.row_writer import LOST_LINK, LOST_TARGET, LOST_XATTR
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import InvalidTree

PLACE = b"/.flat/ab/abcdef"
PLAIN = Content(bytes(range(20)), 5)


def written_and_read(tree: Tree) -> Tree:
    catalog = Catalog(draft_catalog(PLACE, tree).data, PLACE)
    return read_tree(catalog, nothing_nested)


def test_hard_links_in_one_directory_are_a_group() -> None:
    tree = Tree(
        directory(),
        {b"": {name: file(PLAIN, link_group=5) for name in (b"a", b"b", b"c")}},
    )
    draft = draft_catalog(PLACE, tree)
    rows = rows_of(draft.data)
    assert {rows[name]["hardlinks"] for name in (b"a", b"b", b"c")} == {1 << 32 | 3}
    assert draft.losses == {}
    groups = {
        dirent.link_group for dirent in written_and_read(tree).directories[b""].values()
    }
    assert groups == {1}


def test_hard_links_across_directories_are_split_and_counted() -> None:
    hard = file(PLAIN, link_group=9)
    tree = Tree(
        directory(),
        {
            b"": {b"a": hard, b"b": hard, b"sub": directory(), b"alone": directory()},
            b"sub": {b"c": hard, b"d": hard},
            b"alone": {b"e": hard, b"f": file(PLAIN, link_group=3)},
        },
    )
    draft = draft_catalog(PLACE, tree)
    rows = rows_of(draft.data)
    assert rows[b"a"]["hardlinks"] == rows[b"b"]["hardlinks"]
    assert rows[b"c"]["hardlinks"] == rows[b"d"]["hardlinks"]
    assert rows[b"a"]["hardlinks"] >> 32 != rows[b"c"]["hardlinks"] >> 32
    assert rows[b"a"]["hardlinks"] & 0xFFFFFFFF == 2
    assert rows[b"e"]["hardlinks"] == 1
    assert rows[b"f"]["hardlinks"] == 1  # a group of one is no hard link, and no loss
    assert draft.losses == {LOST_LINK: 1}


def test_hard_links_that_differ_are_refused() -> None:
    entries = {
        b"a": file(PLAIN, link_group=1),
        b"b": file(PLAIN, link_group=1, mtime=1),
    }
    with pytest.raises(InvalidTree, match="hard links to it differ"):
        draft_catalog(PLACE, Tree(directory(), {b"": entries}))


def test_losses_of_attributes_and_targets_are_counted() -> None:
    long = ((b"user.long", b"v" * 256), (b"user.short", b"v"))
    entries = {
        b"a": file(PLAIN)._replace(xattrs=long),
        b"b": directory()._replace(xattrs=long[:1]),
        b"c": link(b"/$(HOME)/x"),
        b"d": link(b"$(open"),
        b"e": link(b"$x)"),
        b"f": link(b"$(a\nb)"),
    }
    draft = draft_catalog(PLACE, Tree(directory(), {b"": entries, b"b": {}}))
    assert draft.losses == {LOST_XATTR: 2, LOST_TARGET: 2}
    assert draft.statistics.own.xattr == 1
    assert rows_of(draft.data)[b"b"]["xattr"] is None


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"n" * 256])
@pytest.mark.parametrize("others", [{}, {b"fine": link(b"x")}])
def test_a_name_that_is_none_is_refused(
    name: bytes, others: dict[bytes, Dirent]
) -> None:
    with pytest.raises(InvalidTree, match="whose name is none"):
        draft_catalog(PLACE, Tree(directory(), {b"": {**others, name: link(b"x")}}))


@pytest.mark.parametrize(
    "entry",
    [
        file(PLAIN)._replace(content=None),
        link(b""),
        link(b"a\0b"),
        link(b"x")._replace(content=PLAIN),
        directory()._replace(content=PLAIN),
        Dirent(0o644),
        Dirent(0o160644),
        file(Content(None, 5)),
        file(Content(None, 5, chunks=(Chunk(0, 4, b"a" * 20),))),
        file(Content(None, 5, chunks=(Chunk(1, 5, b"a" * 20),))),
        file(PLAIN, mtime=2**63),
        file(PLAIN, uid=2**64),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(entry: Dirent) -> None:
    tree = Tree(directory(), {b"": {b"x": entry}, b"x": {}})
    if entry.mode >> 12 != 4:
        del tree.directories[b"x"]
    with pytest.raises(InvalidTree):
        draft_catalog(PLACE, tree)


@given(st.integers(0, 80))
def test_any_number_of_rows_is_written(count: int) -> None:
    entries = {b"%d" % number: file(PLAIN) for number in range(count)}
    tree = Tree(directory(), {b"": entries})
    assert written_and_read(tree) == tree
