"""What every database of a repository has: sound pages, and properties.

Source: cvmfs/sql_impl.h.
"""

import sqlite3
from collections.abc import Iterator, Mapping

_TOLD_PROBLEMS = 5
_MAX_DIGITS = 18


def integrity_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what SQLite finds wrong: pages, indexes that disagree with their table."""
    query = f"PRAGMA integrity_check({_TOLD_PROBLEMS:d})"
    for (text,) in connection.execute(query).fetchall():
        if text != b"ok":
            yield f"damaged database: {bytes(text).decode(errors='replace')}"


def table_kinds(connection: sqlite3.Connection) -> Mapping[str, str]:
    """Return what each name in the schema is: ``table``, ``index`` or ``view``."""
    return {
        bytes(name).decode(errors="replace"): bytes(kind).decode(errors="replace")
        for name, kind in connection.execute(
            "SELECT CAST(name AS TEXT), CAST(type AS TEXT) FROM sqlite_master"
        )
    }


def all_properties(connection: sqlite3.Connection) -> Mapping[str, str]:
    """Return what a database says of itself as a whole.

    Bytes that are not UTF-8, as a mountpoint may have, come as surrogates.
    """
    return {
        key.decode(errors="surrogateescape"): value.decode(errors="surrogateescape")
        for key, value in connection.execute(
            "SELECT CAST(key AS TEXT), CAST(value AS TEXT) FROM properties"
            " WHERE key IS NOT NULL AND value IS NOT NULL"
        )
    }


def number(properties: Mapping[str, str], key: str, default: int = 0) -> int | None:
    """Return a property that is a number, ``None`` when it is none."""
    text = properties.get(key, str(default))
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None
