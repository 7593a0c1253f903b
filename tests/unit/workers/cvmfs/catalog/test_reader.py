import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.repositories.catalog_bytes import GOOD, MOUNTPOINT, TREE, altered
from tests.support.repositories.repository_builders import (
    file,
    nothing_nested,
)
from workers.cvmfs import Content
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import FormatError, Malformed


def read_everything(data: bytes) -> None:
    catalog = Catalog(data, MOUNTPOINT)
    reads: list[Callable[[], object]] = [
        lambda: catalog.statistics,
        lambda: catalog.revision,
        lambda: catalog.last_modified,
        lambda: catalog.previous_revision,
        lambda: [row.dirent() for row in catalog.rows()],
        lambda: catalog.row(MOUNTPOINT + b"/file"),
        lambda: catalog.children(MOUNTPOINT),
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
    catalog = Catalog(GOOD, MOUNTPOINT)
    row = catalog.row(MOUNTPOINT + b"/file")
    assert row is not None
    assert row.dirent() == file(Content(b"h" * 20, 5))
    assert row.link_count == 1
    assert row.parent == (catalog.row(MOUNTPOINT) or row).key
    assert catalog.row(MOUNTPOINT + b"/missing") is None
    assert {row.name for row in catalog.children(MOUNTPOINT + b"/sub")} == {
        b"link",
        b"big",
    }
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
    catalog = Catalog(data, MOUNTPOINT)
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
        Catalog(altered(statement), MOUNTPOINT)


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
    catalog = Catalog(altered(statement), MOUNTPOINT)
    for read in (catalog.rows, lambda: [catalog.row(MOUNTPOINT)]):
        with pytest.raises(Malformed):
            list(read())


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
        Catalog(altered(statement), MOUNTPOINT).nested()


@pytest.mark.parametrize("key", ["revision", "last_modified", "previous_revision"])
def test_an_unreadable_property_is_refused(key: str) -> None:
    catalog = Catalog(
        altered(f"UPDATE properties SET value='x1' WHERE key='{key}'"), MOUNTPOINT
    )
    with pytest.raises(Malformed):
        getattr(catalog, key)


@pytest.mark.parametrize("zeros", ["", "0" * 40, "0" * 64])
def test_zeros_of_any_length_are_no_predecessor(zeros: str) -> None:
    statement = f"UPDATE properties SET value='{zeros}' WHERE key='previous_revision'"
    assert Catalog(altered(statement), MOUNTPOINT).previous_revision is None


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
