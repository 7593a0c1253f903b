"""Databases are bytes that come in and go out, and no file is in between."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.catalog_bytes import GOOD, altered
from workers.cvmfs.catalog.database import (
    create_database,
    open_database,
    read_properties,
    serialized,
    translated,
    write_properties,
)
from workers.cvmfs.errors import FormatError, Malformed, StorageFailed

TABLES = "CREATE TABLE properties (key TEXT PRIMARY KEY, value TEXT);"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def test_a_database_that_is_not_touched_is_its_own_bytes_again() -> None:
    with closing(open_database(GOOD, "catalog")) as connection:
        assert serialized(connection) == GOOD


def test_the_bytes_are_those_of_a_file(tmp_path: Path) -> None:
    with closing(create_database(TABLES, 1024)) as connection:
        write_properties(connection, {"key": "value"})
        (tmp_path / "file").write_bytes(serialized(connection))
    assert (tmp_path / "file").read_bytes()[16:18] == b"\4\0"
    with closing(sqlite3.connect(tmp_path / "file")) as connection:
        rows = connection.execute("SELECT * FROM properties").fetchall()
        assert rows == [("key", "value")]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_no_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    with closing(create_database(TABLES, 1024)) as connection:
        write_properties(connection, {"key": "v" * 100_000})
        with closing(open_database(serialized(connection), "copy")):
            assert list(tmp_path.iterdir()) == []


def test_what_was_deleted_does_not_stay_in_the_bytes() -> None:
    with closing(create_database(TABLES, 1024)) as connection:
        write_properties(connection, {str(n): "v" * 500 for n in range(100)})
        full = len(serialized(connection))
        connection.execute("DELETE FROM properties WHERE key <> '7'")
        assert len(serialized(connection)) < full / 10
        assert read_properties(connection, "it") == {"7": "v" * 500}


def test_a_little_waste_is_not_worth_rewriting_all() -> None:
    with closing(create_database(TABLES, 1024)) as connection:
        write_properties(connection, {str(n): "v" * 500 for n in range(100)})
        full = len(serialized(connection))
        connection.execute("DELETE FROM properties WHERE key IN ('7', '8')")
        assert len(serialized(connection)) == full


@given(st.dictionaries(TEXTS, TEXTS))
def test_properties_are_read_as_they_were_written(properties: dict[str, str]) -> None:
    with closing(create_database(TABLES, 1024)) as connection:
        write_properties(connection, {**dict.fromkeys(properties, "before")})
        write_properties(connection, properties)
        assert read_properties(connection, "it") == properties


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO properties VALUES ('key', NULL)",
        "INSERT INTO properties VALUES ('key', x'ff')",
        "DROP TABLE properties",
    ],
)
def test_what_is_no_table_of_properties_is_refused(statement: str) -> None:
    data = altered(statement)
    with (
        closing(open_database(data, "it")) as connection,
        pytest.raises(Malformed, match=r"^it"),
    ):
        read_properties(connection, "it")


@given(st.binary(), st.integers(0, len(GOOD)))
def test_any_bytes_are_a_database_or_our_own_error(data: bytes, place: int) -> None:
    damaged = GOOD[:place] + data + GOOD[place + len(data) :]
    for candidate in (data, damaged, GOOD[:place]):
        with contextlib.suppress(FormatError):
            connection = open_database(candidate, "it")
            with closing(connection):
                read_properties(connection, "it")


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("full"),
        OverflowError("full"),
        TypeError("full"),
        MemoryError("full"),
    ],
    ids=repr,
)
def test_what_sqlite_raises_becomes_the_error_that_was_asked_for(
    error: Exception,
) -> None:
    with (
        pytest.raises(StorageFailed, match=r"^list: full$"),
        translated("list", StorageFailed),
    ):
        raise error


def test_an_error_that_is_not_of_sqlite_stays_what_it_is() -> None:
    with pytest.raises(KeyError), translated("list"):
        raise KeyError
