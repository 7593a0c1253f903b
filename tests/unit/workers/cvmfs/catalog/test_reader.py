import contextlib
import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import (
    directory,
    file,
    link,
    nothing_nested,
)
from workers.cvmfs import Chunk, Content, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import FormatError, Malformed

PLACE = b"/place"
TREE = Tree(
    directory(),
    {
        b"": {b"file": file(Content(b"h" * 20, 5)), b"sub": directory()},
        b"sub": {
            b"link": link(b"x"),
            b"big": file(Content(None, 2, chunks=(Chunk(0, 2, b"c" * 20),))),
        },
    },
)
GOOD = draft_catalog(PLACE, TREE).data


def altered(*statements: str) -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(GOOD)
    for statement in statements:
        connection.execute(statement)
    data: bytes = connection.serialize()
    connection.close()
    return data


def read_everything(data: bytes) -> None:
    catalog = Catalog(data, PLACE)
    reads: list[Callable[[], object]] = [
        lambda: catalog.statistics,
        lambda: catalog.revision,
        lambda: catalog.last_modified,
        lambda: catalog.previous_revision,
        lambda: [row.dirent() for row in catalog.rows()],
        lambda: catalog.row(PLACE + b"/file"),
        lambda: catalog.children(PLACE),
        catalog.all_chunks,
        catalog.nested,
        catalog.bind_mountpoints,
        lambda: read_tree(catalog, nothing_nested),
    ]
    try:
        for read in reads:
            with contextlib.suppress(FormatError):
                read()
    finally:
        catalog.close()


def test_a_catalog_knows_its_rows_by_path() -> None:
    catalog = Catalog(GOOD, PLACE)
    row = catalog.row(PLACE + b"/file")
    assert row is not None
    assert row.dirent() == file(Content(b"h" * 20, 5))
    assert row.link_count == 1
    assert row.parent == (catalog.row(PLACE) or row).key
    assert catalog.row(PLACE + b"/missing") is None
    assert {row.name for row in catalog.children(PLACE + b"/sub")} == {b"link", b"big"}
    assert catalog.size == len(GOOD)
    assert len(list(catalog.rows())) == 6
    assert catalog.previous_revision is None


def test_older_catalogs_lack_what_came_later() -> None:
    data = altered(
        "ALTER TABLE catalog DROP COLUMN mtimens",
        "ALTER TABLE catalog DROP COLUMN xattr",
        "ALTER TABLE nested_catalogs DROP COLUMN size",
        "DROP TABLE bind_mountpoints",
        "UPDATE properties SET value='0' WHERE key='schema_revision'",
        f"INSERT INTO nested_catalogs VALUES ('/place/x', '{'ab' * 20}')",
    )
    catalog = Catalog(data, PLACE)
    assert read_tree(catalog, nothing_nested) == TREE
    assert [nested.size for nested in catalog.nested()] == [0]
    assert catalog.bind_mountpoints() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE properties SET value='2.4' WHERE key='schema'",
        "DELETE FROM properties",
        "UPDATE properties SET value='/else' WHERE key='root_prefix'",
        "UPDATE properties SET value=x'ff' WHERE key='TTL' OR key='revision'",
        "DROP TABLE properties",
    ],
)
def test_what_is_no_catalog_of_its_mountpoint_is_refused(statement: str) -> None:
    with pytest.raises(Malformed):
        Catalog(altered(statement), PLACE)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE catalog",
        "ALTER TABLE catalog RENAME COLUMN hardlinks TO hardlinkz",
    ],
)
def test_a_catalog_without_its_columns_is_refused_when_they_are_read(
    statement: str,
) -> None:
    catalog = Catalog(altered(statement), PLACE)
    for read in (catalog.rows, lambda: [catalog.row(PLACE)]):
        with pytest.raises(Malformed):
            list(read())


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
    catalog = Catalog(altered(statement), PLACE)
    with pytest.raises(Malformed):
        list(catalog.rows())


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
        read_tree(Catalog(altered(statement), PLACE), nothing_nested)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO nested_catalogs VALUES ('/place/sub', 'nonsense', 1)",
        "INSERT INTO nested_catalogs VALUES ('/place/sub', NULL, 1)",
        "INSERT INTO nested_catalogs VALUES (NULL, NULL, NULL)",
    ],
)
def test_an_unsound_mountpoint_is_refused(statement: str) -> None:
    with pytest.raises(Malformed):
        Catalog(altered(statement), PLACE).nested()


@pytest.mark.parametrize("counter", ["self_regular", "subtree_external_file_size"])
def test_a_catalog_without_one_of_its_counters_is_refused(counter: str) -> None:
    catalog = Catalog(
        altered(f"DELETE FROM statistics WHERE counter='{counter}'"), PLACE
    )
    with pytest.raises(Malformed, match=counter):
        _ = catalog.statistics


@pytest.mark.parametrize("key", ["revision", "last_modified", "previous_revision"])
def test_an_unreadable_property_is_refused(key: str) -> None:
    catalog = Catalog(
        altered(f"UPDATE properties SET value='x1' WHERE key='{key}'"), PLACE
    )
    with pytest.raises(Malformed):
        getattr(catalog, key)


@pytest.mark.parametrize("zeros", ["", "0" * 40, "0" * 64])
def test_zeros_of_any_length_are_no_predecessor(zeros: str) -> None:
    statement = f"UPDATE properties SET value='{zeros}' WHERE key='previous_revision'"
    assert Catalog(altered(statement), PLACE).previous_revision is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_catalog_or_our_own_error(data: bytes) -> None:
    for candidate in (data, b"SQLite format 3\0" + data):
        with contextlib.suppress(FormatError):
            read_everything(candidate)


@example([(7907, 48)])  # a column has another name
@example([(1833, 128)])  # a negative mode
@example([(7601, 128)])  # SQLite's message then quotes a byte that is not UTF-8
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=40,
    )
)
def test_any_damaged_catalog_reads_or_raises_our_own_error(
    bytes_at: list[tuple[int, int]],
) -> None:
    data = bytearray(GOOD)
    for position, value in bytes_at:
        data[position] = value
    with contextlib.suppress(FormatError):
        read_everything(bytes(data))
