"""The rows of one catalog: each by itself, and as a tree.

Source: cvmfs/swissknife_check.cc, ``CommandCheck::Find``; cvmfs-format.md section 3.8.
"""

import hashlib
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workers.cvmfs.catalog.schema import COLUMNS, MARKER
from workers.cvmfs.checking.finding import Finding
from workers.cvmfs.checking.layout import Key, Layout
from workers.cvmfs.checking.rules import BROKEN_RULES, TYPES_MASK, broken_rules
from workers.cvmfs.errors import Malformed
from workers.cvmfs.values.hash import path_key
from workers.cvmfs.values.paths import is_name
from workers.cvmfs.values.xattrs import decode_xattrs

_SELECT_BROKEN = f"""
SELECT rowid, md5path_1, md5path_2, parent_1, parent_2, name, {BROKEN_RULES}
FROM catalog"""  # noqa: S608 - constants only
_SELECT_XATTRS = """
SELECT md5path_1, md5path_2, parent_1, parent_2, name, xattr
FROM catalog WHERE typeof(xattr) = 'blob'"""

_LINK_GROUP_COLUMNS = (
    "hardlinks", "hash", "size", "mode", "mtime", "mtimens", "flags", "symlink",
    "uid", "gid", "xattr",
)  # fmt: skip
"""What the names of one file share."""
_DIFFERENCES = " + ".join(
    f"((count(DISTINCT {column}) + (count({column}) NOT IN (0, count(*))) > 1)"
    f" << {bit})"
    for bit, column in enumerate(_LINK_GROUP_COLUMNS)
)
_SELECT_GROUPS = f"""
SELECT md5path_1, md5path_2, parent_1, parent_2, min(name), hardlinks >> 32, count(*),
  hardlinks & 4294967295,
  count(DISTINCT parent_1) + count(DISTINCT parent_2) > 2, {_DIFFERENCES}
FROM catalog WHERE hardlinks > 4294967295 AND mode & 61440 <> 16384
GROUP BY hardlinks >> 32"""  # noqa: S608 - constants only

_SELECT_CHUNKED = """
WITH pieces AS (
  SELECT md5path_1, md5path_2, size AS piece, offset,
    coalesce(lag(offset + size) OVER (
      PARTITION BY md5path_1, md5path_2 ORDER BY offset, size), 0) AS expected,
    typeof(offset) = 'integer' AND typeof(size) = 'integer' AND size > 0
      AND typeof(hash) = 'blob' AND length(hash) = 20 AS is_sound
  FROM chunks),
files AS (
  SELECT md5path_1, md5path_2, sum(piece) AS total, sum(offset <> expected) AS breaks,
    sum(NOT is_sound) AS unsound
  FROM pieces GROUP BY md5path_1, md5path_2)
SELECT md5path_1, md5path_2, parent_1, parent_2, name, size, total, breaks, unsound
FROM catalog LEFT JOIN files USING (md5path_1, md5path_2)
WHERE flags & 64 AND mode & 61440 = 32768 AND (
  total IS NOT size OR breaks IS NOT 0 OR unsound IS NOT 0)"""
_SELECT_STRAY_CHUNKS = """
SELECT count(*) FROM chunks WHERE NOT EXISTS (
  SELECT 1 FROM catalog WHERE catalog.md5path_1 = chunks.md5path_1
  AND catalog.md5path_2 = chunks.md5path_2 AND flags & 64)"""


def examine_entries(
    connection: sqlite3.Connection, layout: Layout
) -> Iterator[Finding]:
    """Examine all rows of a catalog that has a root."""
    yield from layout.link_counts
    yield from _rows(connection, layout)
    yield from _marker(connection, layout)
    yield from _xattrs(connection, layout)
    yield from _link_groups(connection, layout)
    yield from _chunks(connection, layout)


def _rows(connection: sqlite3.Connection, layout: Layout) -> Iterator[Finding]:
    """Examine each row by itself, and that it lies where its path key says."""
    root = path_key(layout.mountpoint)
    is_nested = int(layout.mountpoint != b"")
    parameters = {"first": root[0], "second": root[1], "is_nested": is_nested}
    paths = layout.paths
    lost: dict[Key, _Lost] = {}
    # This loop sees every row of the repository: names are local, calls are few.
    unpack = struct.Struct("<qq").unpack
    md5 = hashlib.md5
    for rowid, first, second, parent_1, parent_2, name, broken in connection.execute(
        _SELECT_BROKEN, parameters
    ):
        if broken:
            yield from _broken(connection, layout, rowid, broken)
            if broken & TYPES_MASK:
                continue
        directory = paths.get((parent_1, parent_2))
        if directory is None:
            if (first, second) != root:
                lost.setdefault((parent_1, parent_2), _Lost(name)).entries += 1
            continue
        path = directory + b"/" + name
        if unpack(md5(path, usedforsecurity=False).digest()) != (first, second):
            yield _misfiled(connection, path)
        if not is_name(name):
            yield Finding.at(path, f"has a name that no directory can hold: {name!r}")
    yield from _lost(layout, lost)


@dataclass(slots=True)
class _Lost:
    """The entries of one directory that is none of this catalog's."""

    name: bytes
    entries: int = 0


def _lost(layout: Layout, lost: Mapping[Key, _Lost]) -> Iterator[Finding]:
    below = 0
    for parent, entries in lost.items():
        what = f"{entries.entries} entries, as {entries.name!r},"
        mountpoint = layout.nested.get(parent) or layout.bound.get(parent)
        if mountpoint is not None:
            yield Finding.at(
                mountpoint, f"is a mountpoint, yet the catalog has {what} in it"
            )
        elif parent in layout.unreached:
            below += entries.entries
        else:
            yield Finding.at(layout.mountpoint, f"catalog has {what} in no directory")
    if below:
        yield Finding.at(
            layout.mountpoint, f"catalog has {below} entries that nothing leads to"
        )


def _broken(
    connection: sqlite3.Connection, layout: Layout, rowid: int, mask: int
) -> Iterator[Finding]:
    query = f"SELECT {', '.join(COLUMNS)} FROM catalog WHERE rowid = ?"  # noqa: S608
    row = connection.execute(query, (rowid,)).fetchone()
    columns = dict(zip(COLUMNS, row, strict=True))
    path = _path(layout, row[:4], columns["name"])
    for rule in broken_rules(mask):
        yield Finding.at(path, rule.what.format_map(columns))


def _path(layout: Layout, keys: Sequence[int], name: object) -> bytes:
    return layout.path((keys[0], keys[1]), (keys[2], keys[3]), name)


def _misfiled(connection: sqlite3.Connection, path: bytes) -> Finding:
    found = connection.execute(
        "SELECT count(*) FROM catalog WHERE md5path_1 = ? AND md5path_2 = ?",
        path_key(path),
    ).fetchone()
    if found[0]:
        return Finding.at(path, "is there twice: the name is taken already")
    return Finding.at(path, "is filed under the path key of another path")


def _marker(connection: sqlite3.Connection, layout: Layout) -> Iterator[Finding]:
    if not layout.mountpoint:
        return
    (count,) = connection.execute(
        "SELECT count(*) FROM catalog"
        " WHERE parent_1 = ? AND parent_2 = ? AND name = CAST(? AS TEXT)",
        (*path_key(layout.mountpoint), MARKER),
    ).fetchone()
    if not count:
        yield Finding.at(
            layout.mountpoint, f"is a nested catalog without {MARKER.decode()} in it"
        )


def _xattrs(connection: sqlite3.Connection, layout: Layout) -> Iterator[Finding]:
    for *keys, name, blob in connection.execute(_SELECT_XATTRS):
        try:
            problem = None if decode_xattrs(blob) else "none, but not NULL"
        except Malformed as error:
            problem = str(error)
        if problem is not None:
            yield Finding.at(
                _path(layout, keys, name), f"has extended attributes: {problem}"
            )


def _link_groups(connection: sqlite3.Connection, layout: Layout) -> Iterator[Finding]:
    """Examine hard links: one directory, one inode, and as many as they say."""
    for (
        *keys,
        name,
        group,
        members,
        links,
        is_scattered,
        differences,
    ) in connection.execute(_SELECT_GROUPS):
        what = None
        different = [
            column
            for bit, column in enumerate(_LINK_GROUP_COLUMNS)
            if differences >> bit & 1
        ]
        if is_scattered:
            what = "has members in several directories"
        elif different:
            what = f"has members that differ in {', '.join(different)}"
        elif links != members:
            what = f"has link count {links} but {members} members"
        if what is not None:
            path = _path(layout, keys, name)
            yield Finding.at(path, f"hard link group {group} {what}")


def _chunks(connection: sqlite3.Connection, layout: Layout) -> Iterator[Finding]:
    for *keys, name, size, total, breaks, unsound in connection.execute(
        _SELECT_CHUNKED
    ):
        path = _path(layout, keys, name)
        if total is None:
            yield Finding.at(path, "is a chunked file without chunks")
        elif unsound:
            yield Finding.at(path, f"has {unsound} chunks that make no sense")
        elif breaks:
            yield Finding.at(path, "has chunks that do not follow one another from 0")
        else:
            yield Finding.at(path, f"has {size} bytes but its chunks have {total}")
    (stray,) = connection.execute(_SELECT_STRAY_CHUNKS).fetchone()
    if stray:
        yield Finding.at(
            layout.mountpoint, f"catalog has {stray} chunks of no chunked file"
        )
