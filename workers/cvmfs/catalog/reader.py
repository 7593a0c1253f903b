"""One file catalog, opened for reading.

A catalog is an SQLite database of the entries below one path, its mountpoint; entries
below the mountpoints of catalogs nested in it are in those. This room reads a single
catalog and follows nothing; ``snapshot.py`` reads across them.

Source: cvmfs/catalog.cc, catalog_sql.cc; cvmfs-format.md section 3.
"""

import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

from workers.cvmfs.catalog.counters import Statistics
from workers.cvmfs.catalog.database import open_database, read_properties, translated
from workers.cvmfs.catalog.rows import Row, select_checked_rows, select_rows
from workers.cvmfs.catalog.schema import COLUMNS, SCHEMA, SCHEMA_REVISION
from workers.cvmfs.errors import Malformed
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.storage.storage import ObjectSource
from workers.cvmfs.values.dirent import Chunk
from workers.cvmfs.values.hash import ContentHash, Kind, path_key

Key = tuple[int, int]

# Of the revision that all tools write today the columns are known, and asking each
# catalog for them takes a fifth of the time of opening it.
_COLUMNS = frozenset(COLUMNS)
_SELECT_CHECKED = select_checked_rows(_COLUMNS)

_IS_THERE = "SELECT 1 FROM catalog WHERE md5path_1=? AND md5path_2=?"
_SELECT_CHUNKS = """
SELECT md5path_1, md5path_2, offset, size, hash,
  typeof(md5path_1)='integer' AND typeof(md5path_2)='integer'
  AND typeof(offset)='integer' AND typeof(size)='integer'
  AND typeof(hash)='blob' AND length(hash)=20
FROM chunks"""

_IN_DIRECTORY = "WHERE parent_1=? AND parent_2=?"
_IN_ALL_OTHERS = """
WHERE parent_1 IS NOT ? OR parent_2 IS NOT ? ORDER BY parent_1, parent_2"""
_SELECT_DIRECTORIES = """
SELECT md5path_1, md5path_2, parent_1, parent_2, name, flags
FROM catalog WHERE mode & ~4095 = 16384"""


class NestedCatalog(NamedTuple):
    """A row of ``nested_catalogs`` or ``bind_mountpoints``.

    Attributes:
        path: the mountpoint, from the root of the repository.
        hash: of the catalog's object.
        size: of its database in bytes, uncompressed; 0 if not known.
    """

    path: bytes
    hash: ContentHash
    size: int


def fetch_catalog(source: ObjectSource, reference: NestedCatalog) -> bytes:
    """Fetch the database of a catalog and prove it; see ``load_catalog``."""
    return get_object(source, reference.hash, Kind.CATALOG, size=reference.size)


def load_catalog(source: ObjectSource, reference: NestedCatalog) -> "Catalog":
    """Fetch a catalog by what names it, prove it and open it.

    Raises:
        NotFound: its object is not in the storage.
        Damaged: its object is not what hash and size say.
        Malformed: it is not a catalog of that mountpoint.
    """
    return Catalog(fetch_catalog(source, reference), reference.path)


class Catalog:
    """An open catalog.

    Args:
        data: the bytes of its database.
        mountpoint: where it is mounted, ``b""`` for the root catalog.

    Raises:
        Malformed: not a catalog of schema 2.5, or one of another mountpoint.
    """

    def __init__(self, data: bytes, mountpoint: bytes) -> None:
        self._what = f"catalog of {mountpoint.decode(errors='replace') or '/'}"
        self._connection = open_database(data, self._what)
        # SQLite's module warns of connections that nobody closed.
        weakref.finalize(self, self._connection.close)
        self.mountpoint = mountpoint
        self.size = len(data)
        self.properties: Mapping[str, str] = read_properties(
            self._connection, self._what
        )
        if self.properties.get("schema") != SCHEMA:
            raise Malformed(
                f"{self._what} has schema {self.properties.get('schema')!r},"
                f" not {SCHEMA}"
            )
        prefix = self.properties.get("root_prefix", "").encode()
        if prefix != mountpoint:
            raise Malformed(f"{self._what} was made for {prefix!r}")
        if self.properties.get("schema_revision") == SCHEMA_REVISION:
            self._catalog_columns = _COLUMNS
            self._select = _SELECT_CHECKED
        else:
            self._catalog_columns = self._columns("catalog")
            self._select = select_checked_rows(self._catalog_columns)

    def close(self) -> None:
        """Free its memory now, and not when it is forgotten."""
        self._connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The database itself, text as bytes."""
        return self._connection

    @cached_property
    def statistics(self) -> Statistics:
        """Its 24 counters, as they stand in it.

        Raises:
            Malformed: one is missing.
        """
        with translated(self._what):
            rows = self._connection.execute(
                "SELECT counter, CAST(value AS INTEGER) FROM statistics"
            ).fetchall()
            return Statistics.of_rows({bytes(key).decode(): n for key, n in rows})

    @property
    def revision(self) -> int:
        """Its ``revision`` property; only the root's means something to clients."""
        return self._integer("revision")

    @property
    def last_modified(self) -> int:
        """When it was written, in seconds."""
        return self._integer("last_modified")

    @property
    def previous_revision(self) -> ContentHash | None:
        """The catalog it replaced, ``None`` for the first."""
        text = self.properties.get("previous_revision", "")
        return ContentHash.parse(text) if text.strip("0") else None

    def row(self, path: bytes) -> Row | None:
        """Return the row of one path, ``None`` when this catalog has none."""
        key = path_key(path)
        # The checks of a row take long to compile, so a row that is not there is not
        # asked for by them.
        with translated(self._what):
            if self._connection.execute(_IS_THERE, key).fetchone() is None:
                return None
        query = f"{self._select} WHERE md5path_1=? AND md5path_2=?"
        return next(self._rows(query, key), None)

    def children(self, path: bytes) -> list[Row]:
        """Return the rows of a directory's entries, those below a mountpoint: none."""
        query = f"{self._select} {_IN_DIRECTORY}"
        return list(self._rows(query, path_key(path)))

    def rows(self) -> Iterator[Row]:
        """Yield all rows, in no particular order."""
        return self._rows(self._select, ())

    def scan(self) -> Iterator[tuple[Any, ...]]:
        """Start reading all rows as plain tuples, for those in a hurry.

        Those of one directory come one after the other, those of the root first. Each
        tuple has the fields of ``Row`` in order, of whatever types stand in the
        database. The caller wraps the reading into ``database.translated``.
        """
        select = select_rows(self._catalog_columns)
        root = path_key(self.mountpoint)
        return chain(
            self._connection.execute(f"{select} {_IN_DIRECTORY}", root),
            self._connection.execute(f"{select} {_IN_ALL_OTHERS}", root),
        )

    def scan_directories(self) -> sqlite3.Cursor:
        """Start reading the rows of directories, in the same manner.

        Each tuple has both halves of ``Row.key``, both of ``Row.parent``, name and
        flags.
        """
        return self._connection.execute(_SELECT_DIRECTORIES)

    def chunks(self, key: Key) -> tuple[Chunk, ...]:
        """Return the chunks of one file by its ``Row.key``."""
        return self._chunks("WHERE md5path_1=? AND md5path_2=?", key).get(key, ())

    def all_chunks(self) -> dict[Key, tuple[Chunk, ...]]:
        """Return the chunks of all chunked files."""
        return self._chunks("", ())

    def nested(self) -> list[NestedCatalog]:
        """Return the catalogs nested directly in this one, sorted by path."""
        return self._mounts("nested_catalogs", "ORDER BY path", ())

    def nested_at(self, path: bytes) -> NestedCatalog | None:
        """Return the nested catalog mounted at ``path``."""
        found = self._mounts("nested_catalogs", "WHERE path = CAST(? AS TEXT)", (path,))
        return found[0] if found else None

    def bind_mountpoints(self) -> list[NestedCatalog]:
        """Return the root catalogs of other revisions mounted in this one."""
        return self._mounts("bind_mountpoints", "ORDER BY path", ())

    def _rows(self, query: str, values: tuple[int, ...]) -> Iterator[Row]:
        with translated(self._what):
            for *columns, sound in self._connection.execute(query, values):
                if not sound:
                    raise Malformed(f"{self._what} has an unsound row: {columns}")
                yield Row(*columns)

    def _chunks(self, where: str, key: tuple[int, ...]) -> dict[Key, tuple[Chunk, ...]]:
        query = f"{_SELECT_CHUNKS} {where} ORDER BY md5path_1, md5path_2, offset"
        found: dict[Key, tuple[Chunk, ...]] = {}
        with translated(self._what):
            for first, second, *columns, sound in self._connection.execute(query, key):
                if not sound:
                    raise Malformed(f"{self._what} has an unsound chunk: {columns}")
                file = (first, second)
                found[file] = (*found.get(file, ()), Chunk(*columns))
        return found

    def _mounts(
        self, table: str, rest: str, values: tuple[bytes, ...]
    ) -> list[NestedCatalog]:
        if table not in self._mount_queries:
            return []
        with translated(self._what):
            query = f"{self._mount_queries[table]} {rest}"
            rows = self._connection.execute(query, values).fetchall()
        try:
            return [
                NestedCatalog(path, ContentHash.parse(text.decode("ascii")), size or 0)
                for path, text, size in rows
            ]
        except (AttributeError, UnicodeDecodeError) as error:
            raise Malformed(f"{self._what} has an unsound row in {table}") from error

    @cached_property
    def _mount_queries(self) -> Mapping[str, str]:
        """Per table of mountpoints the SELECT; older revisions lack what came later."""
        queries = {}
        for table in ("nested_catalogs", "bind_mountpoints"):
            columns = self._columns(table)
            size = "CAST(size AS INTEGER)" if "size" in columns else "0"
            if columns:
                queries[table] = (
                    "SELECT coalesce(CAST(path AS TEXT), ''), CAST(sha1 AS TEXT),"  # noqa: S608 - all our own constants
                    f" {size} FROM {table}"
                )
        return queries

    def _columns(self, table: str) -> frozenset[str]:
        with translated(self._what):
            rows = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
        return frozenset(row[1].decode(errors="replace") for row in rows)

    def _integer(self, key: str) -> int:
        text = self.properties.get(key, "0")
        try:
            return int(text)
        except ValueError as error:
            raise Malformed(f"{self._what} has {key} {text[:40]!r}") from error
