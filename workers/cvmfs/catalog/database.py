"""SQLite databases as values: bytes in, bytes out, no file in between.

Catalogs, histories and reflogs are SQLite files. They are opened in memory and written
back with ``serialize``, which gives exactly the bytes the file would have had.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from workers.cvmfs.errors import FormatError, Malformed

_SQLITE_MAGIC = b"SQLite format 3\0"
_WASTE_SHARE = 0.2
_SMALL_PAGE_BYTES = 1024
_SCHEMA = "1.0"
"""Of histories and reflogs."""

_REFUSALS = (
    sqlite3.Error,
    OverflowError,
    TypeError,
    MemoryError,
    UnicodeDecodeError,
)
"""What SQLite raises: ``OverflowError`` and ``TypeError`` for values that no column can
hold, ``MemoryError`` for a database of no pages, ``UnicodeDecodeError`` for a message
of its own that quotes what it cannot read."""


class Closable(Protocol):
    """What holds a database open."""

    def close(self) -> None:
        """Close it."""


class translated:  # noqa: N801 - used as a function is, and is entered often
    """Turn what SQLite raises within a ``with`` block into an error of ours.

    Args:
        what: the beginning of the message.
        into: the error.
    """

    __slots__ = ("_into", "_what")

    def __init__(self, what: str, into: type[FormatError] = Malformed) -> None:
        self._what = what
        self._into = into

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, _REFUSALS):
            raise self._into(f"{self._what}: {error}") from error


def create_database(tables: str, page_bytes: int) -> sqlite3.Connection:
    """Return a new database in memory.

    Text comes back as bytes, since names in a file system are not always UTF-8.
    """
    connection = _connect()
    connection.execute(f"PRAGMA page_size={page_bytes:d}")
    connection.executescript(tables)
    return connection


def open_database(data: bytes, what: str) -> sqlite3.Connection:
    """Open a copy of a database in memory.

    Args:
        data: the bytes of the file.
        what: how error messages call it.

    Raises:
        Malformed: not an SQLite file.
    """
    if not data.startswith(_SQLITE_MAGIC):
        raise Malformed(f"{what} is not an SQLite database")
    connection = _connect()
    with closed_on_error(connection), translated(what):
        connection.deserialize(data)
        # It may come from anywhere: run nothing that it brings along.
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
    return connection


@contextmanager
def closed_on_error(connection: Closable) -> Iterator[None]:
    """Close what is being opened, if the block does not come to its end.

    SQLite's module warns of connections that nobody closed, from Python 3.13 on.
    """
    try:
        yield
    except BaseException:
        connection.close()
        raise


def open_owned_database(
    data: bytes | None, fqrn: str, what: str, *, tables: str, schema_revision: str
) -> tuple[sqlite3.Connection, str | None]:
    """Open, or make, one of the small databases that name the repository they are of.

    Args:
        data: the bytes of the file; ``None`` for a new one.
        fqrn: the repository's name.
        what: how error messages call it.
        tables: of a new one.
        schema_revision: of a new one.

    Returns:
        The database in memory, and its schema revision.

    Raises:
        Malformed: not a database of this kind, or of another repository.

    Source: cvmfs/history_sql.cc, cvmfs/reflog_sql.cc.
    """
    if data is None:
        connection = create_database(tables, _SMALL_PAGE_BYTES)
        write_properties(
            connection,
            {"schema": _SCHEMA, "schema_revision": schema_revision, "fqrn": fqrn},
        )
        return connection, schema_revision
    connection = open_database(data, what)
    with closed_on_error(connection):
        properties = read_properties(connection, what)
        if properties.get("schema") != _SCHEMA or properties.get("fqrn") != fqrn:
            raise Malformed(
                f"{what} has schema {properties.get('schema')!r} and is of"
                f" {properties.get('fqrn')!r}"
            )
    return connection, properties.get("schema_revision")


def serialized(connection: sqlite3.Connection) -> bytes:
    """Return the bytes of the database, vacuumed if a fifth of it is unused."""
    pages = _number(connection, "PRAGMA page_count")
    free = _number(connection, "PRAGMA freelist_count")
    if free > _WASTE_SHARE * pages:
        connection.execute("VACUUM")
    data: bytes = connection.serialize()
    return data


def read_properties(connection: sqlite3.Connection, what: str) -> Mapping[str, str]:
    """Read a ``properties`` table, which all three sorts of database have.

    Raises:
        Malformed: it is not there, or holds something else than text.
    """
    with translated(what):
        rows = connection.execute(
            "SELECT CAST(key AS TEXT), CAST(value AS TEXT) FROM properties"
        ).fetchall()
    try:
        return {key.decode(): value.decode() for key, value in rows}
    except (AttributeError, UnicodeDecodeError) as error:
        raise Malformed(f"{what} has a property that is not text") from error


def write_properties(
    connection: sqlite3.Connection, properties: Mapping[str, str]
) -> None:
    """Set properties, each replacing the one of the same key."""
    connection.executemany(
        "INSERT OR REPLACE INTO properties VALUES (?, ?)", properties.items()
    )


def _connect() -> sqlite3.Connection:
    # Threads of one process may share a reader; they take turns (see Snapshot).
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False
    )
    connection.text_factory = bytes
    return connection


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
