"""The list of what a collection is to delete; there may be millions.

In a temporary SQLite database, which goes to a file when it outgrows the page cache.
"""

import sqlite3
from collections.abc import Iterator

from workers.cvmfs.catalog.database import translated
from workers.cvmfs.errors import StorageFailed
from workers.cvmfs.values.hash import ContentHash, Kind


class GarbageList:
    """Objects to be deleted; close it to drop its file.

    Raises:
        StorageFailed: (all methods) there is no room for temporary files.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=OFF; BEGIN;"
            " CREATE TABLE garbage (hash TEXT, kind TEXT, size INTEGER)"
        )

    def add(self, content_hash: ContentHash, kind: Kind, size: int) -> None:
        """Put an object on the list."""
        with translated("temporary database", StorageFailed):
            self._connection.execute(
                "INSERT INTO garbage VALUES (?, ?, ?)",
                (str(content_hash), kind.value, size),
            )

    def batches(self, most: int) -> Iterator[list[tuple[ContentHash, Kind, int]]]:
        """Yield all, catalogs first: a revision that lost any is known to be gone."""
        with translated("temporary database", StorageFailed):
            cursor = self._connection.execute(
                "SELECT hash, kind, size FROM garbage ORDER BY kind <> 'C', rowid"
            )
            while rows := cursor.fetchmany(most):
                yield [
                    (ContentHash.parse(text), Kind(suffix), size)
                    for text, suffix, size in rows
                ]

    def close(self) -> None:
        """Drop the database, with its file."""
        self._connection.close()
