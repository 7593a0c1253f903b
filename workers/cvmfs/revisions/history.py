"""The history: names (tags) for revisions.

Every commit moves two of them, as the stock tools do: ``trunk`` is the newest revision,
``trunk-previous`` the one before. A named revision is never garbage.

Source: cvmfs/history_sql.cc, swissknife_history.cc; cvmfs-format.md section 6.1.
"""

import weakref
from dataclasses import dataclass

from workers.cvmfs.catalog.database import (
    open_owned_database,
    serialized,
    translated,
    write_properties,
)
from workers.cvmfs.errors import Malformed
from workers.cvmfs.values.hash import NO_HASH, ContentHash

TRUNK = "trunk"
TRUNK_PREVIOUS = "trunk-previous"
_GENERIC = (
    "name BETWEEN 'generic-0' AND 'generic-9~'"
    " AND name GLOB 'generic-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T*Z'"
)
"""The range is for the index; these names sort by their times."""
_TRUNK_DESCRIPTION = "current HEAD"
_TRUNK_PREVIOUS_DESCRIPTION = "default undo target"

_SCHEMA_REVISION = "3"
_WHAT = "history"

# A history without the row of its one nameless branch does not pass the stock check.
_TABLES = """
CREATE TABLE branches
  (branch TEXT, parent TEXT, initial_revision INTEGER,
   CONSTRAINT pk_branch PRIMARY KEY (branch),
   FOREIGN KEY (parent) REFERENCES branches (branch),
   CHECK ((branch <> '') OR (parent IS NULL)),
   CHECK ((branch = '') OR (parent IS NOT NULL)));
INSERT INTO branches VALUES ('', NULL, 0);
CREATE TABLE tags
  (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, channel INTEGER,
   description TEXT, size INTEGER, branch TEXT, CONSTRAINT pk_tags PRIMARY KEY (name),
   FOREIGN KEY (branch) REFERENCES branches (branch));
CREATE TABLE recycle_bin
  (hash TEXT, flags INTEGER, CONSTRAINT pk_hash PRIMARY KEY (hash));
CREATE TABLE properties
  (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
"""


@dataclass(frozen=True, slots=True)
class Tag:
    """A named revision.

    Attributes:
        name: without spaces.
        root_catalog: hash of the revision's root catalog.
        root_catalog_size: of its database in bytes; 0 if not known.
        revision: its number.
        timestamp: when it was published, unix time.
        description: free text.
    """

    name: str
    root_catalog: ContentHash
    root_catalog_size: int
    revision: int
    timestamp: int
    description: str = ""


class History:
    """The tags of a repository, as a database in memory.

    Args:
        data: the bytes of the database; ``None`` for a new one.
        fqrn: the repository's name.
        base: the hash under which ``data`` is stored.

    Raises:
        Malformed: not a history of this repository.
    """

    def __init__(
        self, data: bytes | None, fqrn: str, base: ContentHash = NO_HASH
    ) -> None:
        self._base = base
        self._connection, self._schema_revision = open_owned_database(
            data, fqrn, _WHAT, tables=_TABLES, schema_revision=_SCHEMA_REVISION
        )
        # SQLite's module warns of connections that nobody closed.
        weakref.finalize(self, self._connection.close)

    def tags(self) -> list[Tag]:
        """Return all tags, newest revision first.

        Raises:
            Malformed: one is not readable.
        """
        with translated(_WHAT):
            rows = self._connection.execute(
                "SELECT CAST(name AS TEXT), CAST(hash AS TEXT),"
                " ifnull(CAST(size AS INTEGER), 0), CAST(revision AS INTEGER),"
                " CAST(timestamp AS INTEGER), CAST(ifnull(description, '') AS TEXT)"
                " FROM tags ORDER BY revision DESC, name"
            ).fetchall()
        try:
            return [
                Tag(
                    name.decode(),
                    ContentHash.parse(text.decode()),
                    size,
                    revision,
                    timestamp,
                    description.decode(errors="replace"),
                )
                for name, text, size, revision, timestamp, description in rows
            ]
        except (AttributeError, UnicodeDecodeError) as error:
            raise Malformed("history has an unsound tag") from error

    def move_trunk(
        self, root: ContentHash, size: int, revision: int, timestamp: int
    ) -> None:
        """Let ``trunk`` name a new revision, and ``trunk-previous`` the one it named.

        Args:
            root: hash of the new root catalog.
            size: of its database in bytes.
            revision: its number.
            timestamp: its ``last_modified``.

        Raises:
            Malformed: an older schema, which we do not write.
        """
        self._require_current_schema()
        with translated(_WHAT):
            execute = self._connection.execute
            if execute("SELECT 1 FROM tags WHERE name=?", (TRUNK,)).fetchone():
                execute("DELETE FROM tags WHERE name=?", (TRUNK_PREVIOUS,))
                execute(
                    "UPDATE tags SET name=?, description=? WHERE name=?",
                    (TRUNK_PREVIOUS, _TRUNK_PREVIOUS_DESCRIPTION, TRUNK),
                )
            execute(
                "INSERT INTO tags VALUES (?, ?, ?, ?, 0, ?, ?, '')",
                (TRUNK, str(root), revision, timestamp, _TRUNK_DESCRIPTION, size),
            )

    def add(self, tag: Tag) -> None:
        """Name a revision; the caller has seen to it that the name is free.

        Raises:
            Malformed: an older schema, which we do not write.
        """
        self._require_current_schema()
        with translated(_WHAT):
            self._connection.execute(
                "INSERT INTO tags VALUES (?, ?, ?, ?, 0, ?, ?, '')",
                (
                    tag.name,
                    str(tag.root_catalog),
                    tag.revision,
                    tag.timestamp,
                    tag.description,
                    tag.root_catalog_size,
                ),
            )

    def add_if_free(self, tag: Tag) -> None:
        """Name a revision, unless the name is taken."""
        with translated(_WHAT):
            taken = self._connection.execute(
                "SELECT 1 FROM tags WHERE name=?", (tag.name,)
            ).fetchone()
        if taken is None:
            self.add(tag)

    def newest_generic(self) -> int | None:
        """Return when the newest revision was made that has a tag with a date's name.

        Source: cvmfs/server/cvmfs_server_publish.sh.
        """
        with translated(_WHAT):
            found = self._connection.execute(
                f"SELECT CAST(timestamp AS INTEGER) FROM tags WHERE {_GENERIC}"  # noqa: S608 - ours
                " ORDER BY name DESC LIMIT 1"
            ).fetchone()
        return None if found is None else int(found[0] or 0)

    def prune_generic(self, first: str, most: int) -> None:
        """Take away the tags with dates for names that are old, or too many.

        Args:
            first: the name before which they are old.
            most: so many are kept, the newest.

        Raises:
            Malformed: an older schema, which we do not write.
        """
        self._require_current_schema()
        with translated(_WHAT):
            self._connection.execute(
                f"DELETE FROM tags WHERE {_GENERIC} AND name < ?",  # noqa: S608 - ours
                (first,),
            )
            self._connection.execute(
                f"DELETE FROM tags WHERE {_GENERIC} AND name <= (SELECT name FROM tags"  # noqa: S608 - ours
                f" WHERE {_GENERIC} ORDER BY name DESC LIMIT 1 OFFSET ?)",
                (most,),
            )

    def remove(self, name: str) -> None:
        """Take a name away.

        Raises:
            Malformed: an older schema, which we do not write.
        """
        self._require_current_schema()
        with translated(_WHAT):
            self._connection.execute("DELETE FROM tags WHERE name=?", (name,))

    def finish(self) -> bytes:
        """Return the bytes of the database, which then follows the one it came from."""
        with translated(_WHAT):
            # Absence of this property would trip an assertion in the stock reader.
            write_properties(self._connection, {"previous_revision": str(self._base)})
            return serialized(self._connection)

    def close(self) -> None:
        """Free its memory."""
        self._connection.close()

    def _require_current_schema(self) -> None:
        if self._schema_revision != _SCHEMA_REVISION:
            raise Malformed(
                f"history has schema revision {self._schema_revision}; publish once"
                " with cvmfs_server to upgrade it"
            )
