"""Which objects are named by some revisions, however many they are.

Kept in a temporary SQLite database, by digest and algorithm: a set in memory would
take 120 MB per million. SQLite keeps it in its page cache while it is small and moves
it to a file when it is not. The suffix of an object's name is left out, as in
cvmfs/garbage_collection: what is named in any way is kept in all ways.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager

from workers.cvmfs.catalog.database import translated
from workers.cvmfs.catalog.reader import NestedCatalog, load_catalog
from workers.cvmfs.commit.required_objects import named_catalogs, named_objects
from workers.cvmfs.errors import Damaged, FormatError, StorageFailed
from workers.cvmfs.storage.storage import ObjectSource
from workers.cvmfs.values.hash import Algorithm, ContentHash
from workers.cvmfs.values.paths import printable

_CACHE_KIBIBYTES = 32 * 1024
_ADD = "INSERT OR IGNORE INTO marked VALUES (?, ?)"


class Marks:
    """The objects that some revisions name; close it to drop its file.

    Raises:
        StorageFailed: (all methods) there is no room for temporary files.
    """

    def __init__(self) -> None:
        # The empty name is a temporary file that SQLite makes and removes itself.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(
            f"""
            PRAGMA journal_mode=OFF;
            PRAGMA cache_size=-{_CACHE_KIBIBYTES:d};
            CREATE TABLE marked (digest BLOB, algorithm INTEGER,
              PRIMARY KEY (digest, algorithm)) WITHOUT ROWID;
            CREATE TABLE walked (digest BLOB, algorithm INTEGER,
              PRIMARY KEY (digest, algorithm)) WITHOUT ROWID;
            BEGIN;
            """
        )

    def add(self, content_hash: ContentHash) -> None:
        """Mark one object."""
        with _own():
            self._connection.execute(_ADD, content_hash)

    def walk(
        self,
        source: ObjectSource,
        top: NestedCatalog,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Mark a catalog and all that it names, in it and in those it mounts.

        Args:
            source: the storage.
            top: where to begin.
            tell: called for each catalog that is read.

        Raises:
            Damaged: some catalog could not be read, so that not all is marked.
        """
        pending = [top]
        while pending:
            reference = pending.pop()
            if not self._is_first_walk(reference.hash):
                continue
            tell()
            pending += self._mark_surely(source, reference)

    def walk_what_is_left(
        self, source: ObjectSource, top: NestedCatalog, *, except_for: "Marks"
    ) -> None:
        """Mark as ``walk`` does, but pass over what is gone, damaged or kept.

        Args:
            source: the storage.
            top: where to begin.
            except_for: what has walked those that are kept.
        """
        pending = [top]
        while pending:
            reference = pending.pop()
            if not except_for.has_walked(reference.hash) and self._is_first_walk(
                reference.hash
            ):
                try:
                    pending += self._mark(source, reference)
                except StorageFailed:
                    raise
                except FormatError:
                    continue

    def walk_new(
        self, source: ObjectSource, top: NestedCatalog, former: NestedCatalog
    ) -> None:
        """Mark as ``walk`` does, but pass over catalogs that stand in a former tree.

        Args:
            source: the storage.
            top: where to begin.
            former: the top of a tree; what it mounts at the same path is passed over,
                with all below it. One that is gone has nothing.

        Raises:
            Damaged: some catalog could not be read, so that not all is marked.
        """
        pending: list[tuple[NestedCatalog, NestedCatalog | None]] = [(top, former)]
        while pending:
            reference, before = pending.pop()
            is_known = before is not None and before.hash == reference.hash
            if is_known or not self._is_first_walk(reference.hash):
                continue
            mounted = {} if before is None else _mounted(source, before)
            pending += [
                (nested, mounted.get(nested.path))
                for nested in self._mark_surely(source, reference)
            ]

    def contains(self, content_hash: ContentHash) -> bool:
        """Tell whether an object is marked."""
        with _own():
            found = self._connection.execute(
                "SELECT 1 FROM marked WHERE digest=? AND algorithm=?", content_hash
            ).fetchone()
        return found is not None

    def has_walked(self, content_hash: ContentHash) -> bool:
        """Tell whether a catalog was walked."""
        with _own():
            found = self._connection.execute(
                "SELECT 1 FROM walked WHERE digest=? AND algorithm=?", content_hash
            ).fetchone()
        return found is not None

    def of_shard(self, shard: str) -> set[ContentHash]:
        """Return the marked objects whose text begins with these two hex digits."""
        first = bytes.fromhex(shard)
        last = first + b"\xff" * 20
        with _own():
            rows = self._connection.execute(
                "SELECT digest, algorithm FROM marked WHERE digest BETWEEN ? AND ?",
                (first, last),
            )
            return {ContentHash(digest, Algorithm(number)) for digest, number in rows}

    def close(self) -> None:
        """Drop the database, with its file."""
        self._connection.close()

    def _is_first_walk(self, content_hash: ContentHash) -> bool:
        # Apart from ``marked``: a file whose content is a catalog would have the
        # catalog's own hash, and must not keep it from being walked.
        with _own():
            added = self._connection.execute(
                "INSERT OR IGNORE INTO walked VALUES (?, ?)", content_hash
            )
            return added.rowcount > 0

    def _mark_surely(
        self, source: ObjectSource, reference: NestedCatalog
    ) -> list[NestedCatalog]:
        try:
            return self._mark(source, reference)
        except StorageFailed:
            raise
        except FormatError as error:
            where = printable(reference.path)
            raise Damaged(f"catalog of {where}: {error}") from error

    def _mark(
        self, source: ObjectSource, reference: NestedCatalog
    ) -> list[NestedCatalog]:
        self.add(reference.hash)
        with closing(load_catalog(source, reference)) as catalog:
            self._add_all(
                (digest, number) for digest, number, _ in named_objects(catalog)
            )
            return named_catalogs(catalog)

    def _add_all(self, objects: Iterable[tuple[bytes, int]]) -> None:
        with _own():
            self._connection.executemany(_ADD, objects)


def _mounted(source: ObjectSource, top: NestedCatalog) -> dict[bytes, NestedCatalog]:
    """Return by path what a catalog mounts; nothing where it cannot be read."""
    try:
        with closing(load_catalog(source, top)) as catalog:
            return {each.path: each for each in named_catalogs(catalog)}
    except StorageFailed:
        raise
    except FormatError:
        return {}


@contextmanager
def _own() -> Iterator[None]:
    with translated("temporary database", StorageFailed):
        yield
