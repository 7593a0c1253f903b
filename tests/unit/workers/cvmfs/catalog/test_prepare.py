import hashlib
import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import (
    directory,
    file,
    gathered,
    link,
    new_repository,
    nothing_nested,
    small_tree,
    trees,
)
from workers.cvmfs import Chunk, Content, Dirent, Repository, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.catalog.row_writer import LOST_LINK, LOST_TARGET, LOST_XATTR
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import InvalidChange, InvalidPath, InvalidTree

PLACE = b"/.flat/ab/abcdef"
PLAIN = Content(bytes(range(20)), 5)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def written_and_read(tree: Tree) -> Tree:
    catalog = Catalog(draft_catalog(PLACE, tree).data, PLACE)
    return read_tree(catalog, nothing_nested)


def rows_of(data: bytes) -> dict[bytes, sqlite3.Row]:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    connection.row_factory = sqlite3.Row
    rows = connection.execute(
        "SELECT *, CAST(name AS BLOB) AS raw, typeof(name) AS type FROM catalog"
    ).fetchall()
    connection.close()
    return {row["raw"]: row for row in rows}


def test_a_tree_read_back_is_the_same(repository: Repository) -> None:
    tree = small_tree(repository.sink)
    prepared = repository.prepare(PLACE, tree)
    assert gathered(repository.read_prepared(prepared)) == tree
    assert prepared.losses == {}


@given(trees())
def test_any_tree_read_back_is_the_same(tree: Tree) -> None:
    assert written_and_read(tree) == tree


@given(trees())
def test_rows_are_what_the_path_and_the_numbers_say(tree: Tree) -> None:
    draft = draft_catalog(PLACE, tree)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(draft.data)
    connection.text_factory = bytes
    keys = set(connection.execute("SELECT md5path_1, md5path_2 FROM catalog"))
    types = set(connection.execute("SELECT typeof(name), typeof(symlink) FROM catalog"))
    connection.close()
    paths = {PLACE, PLACE + b"/.cvmfscatalog"}
    for path, entries in tree.directories.items():
        top = PLACE + b"/" + path if path else PLACE
        paths |= {top + b"/" + name for name in entries}
    assert keys == {struct.unpack("<qq", hashlib.md5(path).digest()) for path in paths}
    assert types == {(b"text", b"text")}
    own = draft.statistics.own
    assert sum(own[:4]) == len(paths)
    assert own.dir == len(tree.directories)


def test_the_same_tree_is_the_same_catalog_whenever_it_is_prepared(
    repository: Repository,
) -> None:
    first = repository.prepare(PLACE, small_tree(repository.sink))
    again = repository.prepare(PLACE, small_tree(repository.sink))
    assert (first.objects_written, first.objects_known) == (1, 0)
    assert (again.objects_written, again.objects_known) == (0, 1)
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


def test_a_chunked_file_has_rows_of_its_own() -> None:
    chunks = (Chunk(0, 3, b"a" * 20), Chunk(3, 4, b"b" * 20))
    content = Content(None, 7, chunks=chunks)
    tree = Tree(directory(), {b"": {b"big": file(content)}})
    draft = draft_catalog(PLACE, tree)
    own = draft.statistics.own
    assert (own.chunked, own.chunks, own.chunked_size, own.file_size) == (1, 2, 7, 7)
    assert rows_of(draft.data)[b"big"]["flags"] == 68
    assert written_and_read(tree) == tree


def test_content_keeps_its_compression_and_algorithm() -> None:
    contents = {
        b"stored": Content(b"1" * 20, 1, compression=1),
        b"shake": Content(b"2" * 20, 1, algorithm=2),
        b"chunks": Content(None, 1, 1, (Chunk(0, 1, b"3" * 20),), 1),
    }
    entries = {name: file(content) for name, content in contents.items()}
    tree = Tree(directory(), {b"": entries})
    rows = rows_of(draft_catalog(PLACE, tree).data)
    assert rows[b"stored"]["flags"] == 2052
    assert rows[b"shake"]["flags"] == 4 | 2 << 8
    assert rows[b"chunks"]["flags"] == 68 | 1 << 8 | 1 << 11
    assert written_and_read(tree) == tree


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


@given(st.integers(0, 80))
def test_any_number_of_rows_is_written(count: int) -> None:
    entries = {b"%d" % number: file(PLAIN) for number in range(count)}
    tree = Tree(directory(), {b"": entries})
    assert written_and_read(tree) == tree
