"""A row says an entry in the numbers of the format, and an unsound one is refused."""

import hashlib
import sqlite3
import struct

import pytest
from hypothesis import given

from tests.support.repositories.catalog_bytes import MOUNTPOINT, altered, rows_of
from tests.support.repositories.drawn_trees import trees
from tests.support.repositories.repository_builders import (
    directory,
    file,
    nothing_nested,
)
from workers.cvmfs import Chunk, Content, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import (
    Malformed,
)

PLACE = b"/.flat/ab/abcdef"


def written_and_read(tree: Tree) -> Tree:
    catalog = Catalog(draft_catalog(PLACE, tree).data, PLACE)
    return read_tree(catalog, nothing_nested)


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


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE catalog SET name=NULL WHERE name='file'",
        "UPDATE catalog SET name=x'00' WHERE name='file'",
        "UPDATE catalog SET symlink=NULL",
        "UPDATE catalog SET hash='text'",
        "UPDATE catalog SET hash=x'00' WHERE hash IS NOT NULL",
        "UPDATE catalog SET size=1.5",
        "UPDATE catalog SET mode='x'",
        "UPDATE catalog SET mode=-1",
        "UPDATE catalog SET mode=NULL",
        "UPDATE catalog SET flags=x'01'",
        "UPDATE catalog SET mtime=NULL",
        "UPDATE catalog SET mtimens=-1",
        "UPDATE catalog SET xattr='x'",
        "UPDATE catalog SET hardlinks='x'",
    ],
)
def test_an_unsound_row_is_refused(statement: str) -> None:
    catalog = Catalog(altered(statement), MOUNTPOINT)
    with pytest.raises(Malformed):
        list(catalog.rows())
