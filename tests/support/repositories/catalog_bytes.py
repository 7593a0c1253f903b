"""Catalogs as bytes: a small one to be altered by SQL, and what their rows say."""

import sqlite3

from tests.support.repositories.repository_builders import directory, file, link
from workers.cvmfs import Chunk, Content, Tree
from workers.cvmfs.catalog.prepare import draft_catalog

MOUNTPOINT = b"/place"
TREE = Tree(
    directory(),
    {
        b"": {b"file": file(Content(b"h" * 20, 5)), b"sub": directory()},
        b"sub": {
            b"link": link(b"x"),
            b"big": file(Content(None, 2, chunks=(Chunk(0, 2, b"c" * 20),))),
        },
    },
)
GOOD = draft_catalog(MOUNTPOINT, TREE).data


def altered(*statements: str) -> bytes:
    """Return the good catalog after these statements."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(GOOD)
    for statement in statements:
        connection.execute(statement)
    data: bytes = connection.serialize()
    connection.close()
    return data


def rows_of(data: bytes) -> dict[bytes, sqlite3.Row]:
    """Return all rows of a catalog by their names."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    connection.row_factory = sqlite3.Row
    rows = connection.execute(
        "SELECT *, CAST(name AS BLOB) AS raw, typeof(name) AS type FROM catalog"
    ).fetchall()
    connection.close()
    return {row["raw"]: row for row in rows}
