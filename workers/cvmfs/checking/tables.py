"""The tables, properties and counters of a catalog: its frame, without its entries.

Source: cvmfs/catalog_sql.cc; cvmfs-format.md sections 3.1, 3.2 and 3.7.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping

from workers.cvmfs.catalog.counters import Counters
from workers.cvmfs.catalog.database import open_database, translated
from workers.cvmfs.catalog.schema import COLUMNS, SCHEMA
from workers.cvmfs.checking.finding import Finding, Findings
from workers.cvmfs.checking.integrity import (
    all_properties,
    integrity_problems,
    number,
    table_kinds,
)
from workers.cvmfs.errors import FormatError
from workers.cvmfs.values.hash import ContentHash

_TABLES = {
    "catalog": COLUMNS,
    "chunks": ("md5path_1", "md5path_2", "offset", "size", "hash"),
    "nested_catalogs": ("path", "sha1", "size"),
    "bind_mountpoints": ("path", "sha1", "size"),
    "statistics": ("counter", "value"),
    "properties": ("key", "value"),
}
_SINCE = {
    ("nested_catalogs", "size"): 1,
    ("catalog", "xattr"): 2,
    ("bind_mountpoints", "path"): 4,
    ("bind_mountpoints", "sha1"): 4,
    ("bind_mountpoints", "size"): 4,
    ("catalog", "mtimens"): 7,
}
"""Columns that came with a revision of the schema. Readers choose their statements by
the revision, and writers upgrade older ones in place, so the two must agree."""
_COUNTER_SINCE = {"xattr": 2, "external": 3, "external_file_size": 3, "special": 5}
_PARENT_INDEX = "idx_catalog_parent"
_NUMBERS = ("revision", "last_modified", "TTL")

_REGULAR = "mode & 61440 = 32768"
_OWN_COUNTERS = f"""
SELECT count(*) FILTER (WHERE {_REGULAR}),
  count(*) FILTER (WHERE mode & 61440 = 40960),
  count(*) FILTER (WHERE mode & 61440 IN (4096, 8192, 24576, 49152)),
  count(*) FILTER (WHERE mode & 61440 = 16384),
  (SELECT count(*) FROM nested_catalogs),
  count(*) FILTER (WHERE flags & 64 AND {_REGULAR}),
  (SELECT count(*) FROM chunks),
  coalesce(sum(size) FILTER (WHERE {_REGULAR}), 0),
  coalesce(sum(size) FILTER (WHERE flags & 64 AND {_REGULAR}), 0),
  count(xattr),
  count(*) FILTER (WHERE flags & 128 AND {_REGULAR}),
  coalesce(sum(size) FILTER (WHERE flags & 128 AND {_REGULAR}), 0)
FROM catalog"""  # noqa: S608 - constants only; types by mode, as clients tell them


def open_tables(data: bytes, path: bytes) -> Findings[sqlite3.Connection | None]:
    """Open a catalog's database, and see that it is one.

    What an older revision of the schema lacks is added to the copy in memory, so that
    whoever reads on need not know of revisions.

    Returns:
        The connection, which the caller closes; ``None`` when nothing can be read.
    """
    try:
        connection = open_database(data, "database")
    except FormatError as error:
        yield Finding.at(path, f"catalog cannot be opened: {error}")
        return None
    try:
        with translated("database"):
            for problem in integrity_problems(connection):
                yield Finding.at(path, f"catalog is a {problem}")
            if (yield from _columns(connection, path)):
                return connection
    except FormatError as error:
        yield Finding.at(path, f"catalog cannot be read: {error}")
    connection.close()
    return None


def _columns(connection: sqlite3.Connection, path: bytes) -> Findings[bool]:
    """Compare the columns with what the schema's revision asks for."""
    kinds = table_kinds(connection)
    if kinds.get("properties") != "table":
        yield Finding.at(path, "catalog has no table properties")
        return False
    revision = yield from _schema_revision(connection, path)
    is_readable = True
    for table, wanted in _TABLES.items():
        if kinds.get(table, "table") != "table":
            yield Finding.at(path, f"catalog has something else for table {table}")
            is_readable = False
            continue
        columns = {
            bytes(row[1]).decode(errors="replace")
            for row in connection.execute(f"PRAGMA table_info({table})")
        }
        yield from _compare_columns(path, table, columns, revision)
        missing = [column for column in wanted if column not in columns]
        if all((table, column) in _SINCE for column in missing):
            _complete(connection, table, missing)
        else:
            is_readable = False
    if _PARENT_INDEX not in kinds:
        yield Finding.at(path, f"catalog has no index {_PARENT_INDEX}")
    return is_readable


def _compare_columns(
    path: bytes, table: str, columns: Collection[str], revision: int
) -> Iterator[Finding]:
    what = f"catalog of schema revision {revision}"
    for column in _TABLES[table]:
        is_due = revision >= _SINCE.get((table, column), 0)
        if not columns:
            if is_due:
                yield Finding.at(path, f"{what} has no table {table}")
            return
        if (column in columns) != is_due:
            verb = "lacks" if is_due else "has"
            yield Finding.at(path, f"{what} {verb} the column {table}.{column}")


def _complete(connection: sqlite3.Connection, table: str, missing: list[str]) -> None:
    """Add columns, or a whole table, which later revisions of the schema have."""
    if len(missing) == len(_TABLES[table]):
        connection.execute(f"CREATE TABLE {table} ({', '.join(missing)})")
        return
    for column in missing:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def _schema_revision(connection: sqlite3.Connection, path: bytes) -> Findings[int]:
    properties = all_properties(connection)
    if properties.get("schema") != SCHEMA:
        yield Finding.at(
            path, f"catalog has schema {properties.get('schema')!r}, not {SCHEMA}"
        )
    return schema_revision(properties)


def schema_revision(properties: Mapping[str, str]) -> int:
    """Return the revision of the schema, 0 where it cannot be read."""
    return number(properties, "schema_revision") or 0


def examine_properties(
    properties: Mapping[str, str], mountpoint: bytes
) -> Iterator[Finding]:
    """Examine what a catalog says of itself as a whole."""
    prefix = properties.get("root_prefix")
    if prefix is None and mountpoint:
        yield Finding.at(mountpoint, "catalog has no root_prefix")
    elif prefix is not None and prefix.encode(errors="surrogateescape") != mountpoint:
        yield Finding.at(mountpoint, f"catalog has the root_prefix {prefix!r}")
    for key in _NUMBERS:
        if number(properties, key) is None:
            yield Finding.at(
                mountpoint, f"catalog has {key} {properties[key]!r}, no number"
            )
    for key in ("revision", "last_modified"):
        if key not in properties:
            yield Finding.at(mountpoint, f"catalog has no {key}")
    previous = properties.get("previous_revision", "")
    if previous.strip("0"):
        try:
            ContentHash.parse(previous)
        except FormatError as error:
            yield Finding.at(mountpoint, f"catalog has a previous_revision: {error}")


def own_counters(connection: sqlite3.Connection) -> Counters:
    """Count the rows of a catalog."""
    return Counters(*connection.execute(_OWN_COUNTERS).fetchone())


def stored_counters(
    connection: sqlite3.Connection, revision: int, mountpoint: bytes
) -> Findings[dict[str, int]]:
    """Read the counters as they stand in a catalog; say which are missing."""
    stored = {}
    for counter, value in connection.execute(
        "SELECT CAST(counter AS TEXT), value FROM statistics"
    ):
        if isinstance(counter, bytes) and isinstance(value, int):
            stored[counter.decode(errors="replace")] = value
    for scope in ("self", "subtree"):
        for name in Counters._fields:
            key = f"{scope}_{name}"
            if key not in stored and revision >= _COUNTER_SINCE.get(name, 0):
                yield Finding.at(
                    mountpoint,
                    f"catalog has no counter {key}: it does not load in any client",
                )
    return stored


def compare_counters(
    scope: str, counted: Counters, stored: Mapping[str, int], mountpoint: bytes
) -> Iterator[Finding]:
    """Compare half of the counters with what was counted.

    Args:
        scope: ``self`` or ``subtree``.
        counted: the truth.
        stored: all that stand in the catalog, by name.
        mountpoint: of the catalog.
    """
    for name, value in zip(Counters._fields, counted, strict=True):
        key = f"{scope}_{name}"
        if stored.get(key, value) != value:
            yield Finding.at(
                mountpoint,
                f"catalog counter {key} is {stored[key]}, its entries give {value}",
            )
