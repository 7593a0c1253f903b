"""The reference log: what garbage collection may begin from.

It lists every root catalog, certificate, history and description ever published or left
behind; objects that none of them reaches are never collected. Unlike everything else it
is a raw SQLite file, replaced at each commit, and the manifest names its hash.

Source: cvmfs/reflog_sql.cc, reflog.cc; cvmfs-format.md section 6.3.
"""

import weakref
from enum import IntEnum
from typing import NamedTuple

from workers.cvmfs.catalog.database import (
    open_owned_database,
    serialized,
    translated,
)
from workers.cvmfs.errors import Malformed
from workers.cvmfs.values.hash import ContentHash

_SCHEMA_REVISION = "0"
_WHAT = "reflog"

_TABLES = """
CREATE TABLE refs
  (hash TEXT, type INTEGER, timestamp INTEGER, CONSTRAINT pk_refs PRIMARY KEY (hash));
CREATE TABLE properties
  (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
"""


class ReferenceType(IntEnum):
    """What a reference is to; numbers as in the column ``type``."""

    CATALOG = 0
    CERTIFICATE = 1
    HISTORY = 2
    METAINFO = 3


class ReflogReference(NamedTuple):
    """A row of the reflog, without its time."""

    hash: ContentHash
    type: ReferenceType


class Reflog:
    """A reflog in memory.

    Args:
        data: the bytes of the file; ``None`` for a new one.
        fqrn: the repository's name.

    Raises:
        Malformed: not a reflog of this repository.
    """

    def __init__(self, data: bytes | None, fqrn: str) -> None:
        self._connection, _ = open_owned_database(
            data, fqrn, _WHAT, tables=_TABLES, schema_revision=_SCHEMA_REVISION
        )
        # SQLite's module warns of connections that nobody closed.
        weakref.finalize(self, self._connection.close)

    def references(self) -> dict[ReflogReference, int]:
        """Return all references, with the time at which each was added.

        Raises:
            Malformed: one is not readable.
        """
        with translated(_WHAT):
            rows = self._connection.execute(
                "SELECT CAST(hash AS TEXT), CAST(type AS INTEGER),"
                " ifnull(CAST(timestamp AS INTEGER), 0) FROM refs"
            ).fetchall()
        try:
            return {
                ReflogReference(
                    ContentHash.parse(text.decode()), ReferenceType(kind)
                ): when
                for text, kind, when in rows
            }
        except (AttributeError, ValueError) as error:
            raise Malformed("reflog has an unsound reference") from error

    def contains(self, reference: ReflogReference) -> bool:
        """Tell whether a reference is listed."""
        with translated(_WHAT):
            found = self._connection.execute(
                "SELECT 1 FROM refs WHERE hash=? AND type=?",
                (str(reference.hash), int(reference.type)),
            ).fetchone()
        return found is not None

    def add(self, reference: ReflogReference, now: int) -> None:
        """List a reference; one that is listed becomes as young as ``now``."""
        with translated(_WHAT):
            self._connection.execute(
                "INSERT OR REPLACE INTO refs VALUES (?, ?, ?)",
                (str(reference.hash), int(reference.type), now),
            )

    def remove(self, reference: ReflogReference) -> None:
        """List a reference no more."""
        with translated(_WHAT):
            self._connection.execute(
                "DELETE FROM refs WHERE hash=? AND type=?",
                (str(reference.hash), int(reference.type)),
            )

    def finish(self) -> bytes:
        """Return the bytes of the file."""
        with translated(_WHAT):
            return serialized(self._connection)

    def close(self) -> None:
        """Free its memory."""
        self._connection.close()
