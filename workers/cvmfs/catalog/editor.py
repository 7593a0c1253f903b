"""One catalog, opened for changes, which keeps its counters true.

It edits rows of its own catalog only. What is nested in it is known by a row of
``nested_catalogs`` and by the counters it adds; ``commit/transaction.py`` keeps the
catalogs of one commit in step with each other.

A commit of many images edits hundreds of catalogs, each for a row or two, so what is
asked of a catalog is remembered, and written once: a directory's time and link count,
the counters, the properties.

Source: cvmfs/catalog_rw.cc; cvmfs-format.md sections 3.6, 3.7 and 7.1.
"""

import stat
from collections.abc import Mapping

from workers.cvmfs.catalog.counters import Counters, Statistics
from workers.cvmfs.catalog.database import serialized, translated, write_properties
from workers.cvmfs.catalog.prepare import properties_of_catalog
from workers.cvmfs.catalog.reader import Catalog, NestedCatalog
from workers.cvmfs.catalog.rows import Row, new_row
from workers.cvmfs.catalog.schema import (
    COLUMNS,
    FLAG_MOUNTPOINT,
    INSERT_CHUNK,
    LINK_GROUP_SHIFT,
)
from workers.cvmfs.errors import InvalidTree, Malformed
from workers.cvmfs.values.dirent import Dirent
from workers.cvmfs.values.hash import NO_HASH, ContentHash, path_key
from workers.cvmfs.values.paths import parent, printable

_OLDEST_REVISION = 5
"""The oldest schema revision we write to; older ones lack counters we cannot guess."""
_MTIME_NS_REVISION = 7
_SPARSE_ROWS = 0.25

# As ``schema.INSERT_ROW_OF_BYTES``, for a row as it is read.
_INSERT_ROW = (
    f"INSERT INTO catalog ({', '.join(COLUMNS)})"  # noqa: S608 - constants
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,CAST(? AS TEXT),CAST(? AS TEXT),?,?,?)"
)
_DELETE_ROW = "DELETE FROM catalog WHERE md5path_1=? AND md5path_2=?"
_DELETE_CHUNKS = "DELETE FROM chunks WHERE md5path_1=? AND md5path_2=?"
_TOUCH = """
UPDATE catalog SET hardlinks = hardlinks + ?, mtime = ?, mtimens = 0
WHERE md5path_1=? AND md5path_2=?"""
_SET_GROUP = """
UPDATE catalog SET hardlinks = ?
WHERE parent_1=? AND parent_2=? AND hardlinks=?"""
# VACUUM keeps row numbers, so the rows have to go and come back.
_RENUMBER = """
CREATE TABLE kept AS SELECT * FROM catalog ORDER BY rowid;
DELETE FROM catalog;
INSERT INTO catalog SELECT * FROM kept;
DROP TABLE kept;
VACUUM;
"""


class CatalogEditor:
    """A catalog in memory that can be changed and written out again.

    Args:
        catalog: what it starts from.
        base: the hash under which that is stored; ``None`` for a new catalog, which
            then gets revision 1.

    Attributes:
        counted: the counters of this catalog and all below it that the outer catalog
            already includes.
        is_changed: whether there is anything to write.
    """

    def __init__(self, catalog: Catalog, base: ContentHash | None) -> None:
        self._catalog = catalog
        self._base = base
        self._translated = translated(f"catalog of {printable(catalog.mountpoint)}")
        self._own, self._subtree = catalog.statistics
        self.counted = catalog.statistics.total if base is not None else Counters()
        self.is_changed = base is None
        self._rows: dict[bytes, Row | None] = {}
        self._nested: dict[bytes, NestedCatalog | None] = {}
        self._links_gained: dict[bytes, int] = {}
        self._has_holes = False
        self._upgrade()
        # One transaction for all changes: without, SQLite makes one for each.
        with self._translated:
            catalog.connection.execute("BEGIN")

    @property
    def mountpoint(self) -> bytes:
        """Where it is mounted."""
        return self._catalog.mountpoint

    @property
    def properties(self) -> Mapping[str, str]:
        """Its properties, as they were last written."""
        return self._catalog.properties

    @property
    def revision(self) -> int:
        """Its revision, as it was last written."""
        return self._catalog.revision

    @property
    def total(self) -> Counters:
        """The counters of this catalog and all below it, as they are now."""
        return self._own.plus(self._subtree)

    def row(self, path: bytes) -> Row | None:
        """Return the row of a path; of a directory, time and links may be old."""
        if path not in self._rows:
            self._rows[path] = self._catalog.row(path)
        return self._rows[path]

    def children(self, path: bytes) -> list[Row]:
        """Return the rows of a directory's entries, as far as they are in here."""
        return self._catalog.children(path)

    def dirent(self, row: Row) -> Dirent:
        """Return what a row of this catalog says."""
        return row.dirent(self._catalog.chunks(row.key) if row.is_chunked else ())

    def nested_at(self, path: bytes) -> NestedCatalog | None:
        """Return the catalog mounted at a path, as it was last written."""
        if path not in self._nested:
            self._nested[path] = self._catalog.nested_at(path)
        return self._nested[path]

    def insert(self, path: bytes, dirent: Dirent, link_count: int = 1) -> None:
        """Add the row of something that is not there; the parent is not touched.

        Args:
            path: of the new row.
            dirent: what is there from now on; no device, and no name of a hard link.
            link_count: if it is a directory.

        Raises:
            InvalidTree: the entry contradicts itself.
        """
        self._insert(new_row(path, dirent, link_count), path, dirent)

    def insert_mountpoint(self, path: bytes, root: Dirent, link_count: int) -> None:
        """Add the row of a directory whose entries are in a nested catalog.

        ``mount`` says in which.
        """
        row = new_row(path, root, link_count)
        self._insert(row._replace(flags=row.flags | FLAG_MOUNTPOINT), path, root)

    def delete(self, path: bytes, row: Row) -> None:
        """Delete a row; of a directory, its entries must be gone already."""
        chunk_count = len(self._catalog.chunks(row.key)) if row.is_chunked else 0
        with self._translated:
            self._catalog.connection.execute(_DELETE_ROW, row.key)
            if chunk_count:
                self._catalog.connection.execute(_DELETE_CHUNKS, row.key)
        if row.link_group:
            self._leave_group(parent(path), row)
        self._rows[path] = None
        self._links_gained.pop(path, None)
        self._own = self._own.minus(_counters_of(row, chunk_count))
        self._has_holes = self.is_changed = True

    def touch(self, path: bytes, links: int) -> None:
        """Update a directory's row after its entries have changed.

        Its time becomes that of ``finish``.

        Args:
            path: of the directory.
            links: how many directories it has gained; negative if it lost some.
        """
        self._links_gained[path] = self._links_gained.get(path, 0) + links
        self.is_changed = True

    def mount(self, nested: NestedCatalog, total: Counters) -> None:
        """Name the catalog of a mountpoint for the first time.

        Args:
            nested: the catalog; its hash may be a placeholder until ``remount``.
            total: what it and all below it count.
        """
        self._write_nested(nested)
        self._own = self._own.plus(Counters(nested=1))
        self._subtree = self._subtree.plus(total)

    def remount(self, nested: NestedCatalog, difference: Counters) -> None:
        """Name the new catalog of a mountpoint, and what it counts more than before."""
        self._write_nested(nested)
        self._subtree = self._subtree.plus(difference)

    def unmount(self, path: bytes, total: Counters) -> None:
        """Forget the catalog of a mountpoint, and what it and all below it counted."""
        with self._translated:
            self._catalog.connection.execute(
                "DELETE FROM nested_catalogs WHERE path = CAST(? AS TEXT)", (path,)
            )
        self._nested[path] = None
        self._own = self._own.minus(Counters(nested=1))
        self._subtree = self._subtree.minus(total)
        self.is_changed = True

    def finish(self, now: int, **more: str) -> bytes:
        """Write counters and properties, and return the bytes of the database.

        Args:
            now: becomes ``last_modified``, and the time of the directories touched.
            more: further properties.
        """
        connection = self._catalog.connection
        revision = self._catalog.revision + 1 if self._base is not None else 1
        properties = properties_of_catalog(
            self.mountpoint,
            revision=revision,
            last_modified=now,
            previous=self._base or NO_HASH,
        )
        statistics = Statistics(self._own, self._subtree)
        touched = [
            (links, now, *path_key(path)) for path, links in self._links_gained.items()
        ]
        with self._translated:
            connection.executemany(_TOUCH, touched)
            connection.executemany(
                "UPDATE statistics SET value=? WHERE counter=?",
                self._catalog.statistics.changes(statistics),
            )
            write_properties(connection, properties | more)
            connection.execute("COMMIT")
            # Only what is deleted leaves holes, of rows and of pages.
            if not self._has_holes:
                data: bytes = connection.serialize()
                return data
            if self._is_sparse():
                connection.executescript(_RENUMBER)
            return serialized(connection)

    def close(self) -> None:
        """Free its memory."""
        self._catalog.close()

    def _insert(self, row: Row, path: bytes, dirent: Dirent) -> None:
        chunks = dirent.content.chunks if dirent.content and row.is_chunked else ()
        with translated(f"the row of {printable(path)}", into=InvalidTree):
            self._catalog.connection.execute(_INSERT_ROW, row)
            if chunks:
                rows = [(*row.key, *chunk) for chunk in chunks]
                self._catalog.connection.executemany(INSERT_CHUNK, rows)
        self._rows[path] = row
        self._own = self._own.plus(_counters_of(row, len(chunks)))
        self.is_changed = True

    def _write_nested(self, nested: NestedCatalog) -> None:
        with self._translated:
            self._catalog.connection.execute(
                "INSERT OR REPLACE INTO nested_catalogs VALUES (CAST(? AS TEXT), ?, ?)",
                (nested.path, str(nested.hash), nested.size),
            )
        self._nested[nested.path] = nested
        self.is_changed = True

    def _leave_group(self, directory: bytes, row: Row) -> None:
        """Tell the other names of a file that there is one less (trap 12)."""
        left = row.link_count - 1
        self._rows.clear()
        # The last one is no hard link any more, but a plain file.
        hardlinks = row.link_group << LINK_GROUP_SHIFT | left if left > 1 else 1
        with self._translated:
            self._catalog.connection.execute(
                _SET_GROUP, (hardlinks, *path_key(directory), row.hardlinks)
            )

    def _is_sparse(self) -> bool:
        """Tell whether a quarter of the row numbers is unused.

        Clients make inode numbers of them and set aside as many as the highest.
        """
        highest, count = self._catalog.connection.execute(
            "SELECT max(rowid), count(*) FROM catalog"
        ).fetchone()
        return bool(highest * (1 - _SPARSE_ROWS) > count)

    def _upgrade(self) -> None:
        """Bring a catalog of an older CernVM-FS to the revision we write.

        As ``LiveSchemaUpgradeIfNecessary`` in cvmfs/catalog_sql.cc does; of the
        revisions since 5 only 7 changed a table.
        """
        text = self._catalog.properties.get("schema_revision", "0")
        if not text.isdecimal() or int(text) < _OLDEST_REVISION:
            raise Malformed(
                f"catalog of {printable(self.mountpoint)} has schema revision"
                f" {text[:20]!r}; publish it once with cvmfs_server to upgrade it"
            )
        if int(text) < _MTIME_NS_REVISION:
            with self._translated:
                self._catalog.connection.execute(
                    "ALTER TABLE catalog ADD mtimens INTEGER"
                )


def _counters_of(row: Row, chunk_count: int) -> Counters:
    """Return what a single row counts."""
    kind = stat.S_IFMT(row.mode)
    xattr = 0 if row.xattr is None else 1
    if kind == stat.S_IFDIR:
        return Counters(dir=1, xattr=xattr)
    if kind == stat.S_IFLNK:
        return Counters(symlink=1, xattr=xattr)
    if kind != stat.S_IFREG:
        return Counters(special=1, xattr=xattr)
    return Counters(
        regular=1,
        file_size=row.size,
        chunked=int(row.is_chunked),
        chunks=chunk_count,
        chunked_size=row.size if row.is_chunked else 0,
        xattr=xattr,
        external=int(row.is_external),
        external_file_size=row.size if row.is_external else 0,
    )
