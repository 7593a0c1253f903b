"""The tables of a file catalog, and the bits of its ``flags`` column.

We write schema 2.5, revision 7, with every table of it, and read all of 2.5.

Source: cvmfs/catalog_sql.h, catalog_sql.cc, sql_impl.h; cvmfs-format.md sections 3.1,
3.2 and 3.4.
"""

import re

SCHEMA = "2.5"
SCHEMA_REVISION = "7"
DEFAULT_TTL_SECONDS = 240

MARKER = b".cvmfscatalog"
"""An empty regular file of this name lies directly in the root of every nested catalog,
and nowhere else: not in the repository's root either."""
RESERVED_ROOT_NAME = b".cvmfs"
"""``/.cvmfs`` belongs to CernVM-FS itself."""

PAGE_BYTES = 1024
"""The page caches of the C++ clients are cut for pages of this size."""

TABLES = """
CREATE TABLE catalog
  (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
   hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER,
   mtimens INTEGER, flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, gid INTEGER,
   xattr BLOB, CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
CREATE TABLE chunks
  (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB,
   CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),
   FOREIGN KEY (md5path_1, md5path_2) REFERENCES catalog(md5path_1, md5path_2));
CREATE TABLE nested_catalogs
  (path TEXT, sha1 TEXT, size INTEGER,
   CONSTRAINT pk_nested_catalogs PRIMARY KEY (path));
CREATE TABLE bind_mountpoints
  (path TEXT, sha1 TEXT, size INTEGER,
   CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path));
CREATE TABLE statistics
  (counter TEXT, value INTEGER, CONSTRAINT pk_statistics PRIMARY KEY (counter));
CREATE TABLE properties
  (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
"""
PARENT_INDEX = "CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2)"

COLUMNS = (
    "md5path_1",
    "md5path_2",
    "parent_1",
    "parent_2",
    "hardlinks",
    "hash",
    "size",
    "mode",
    "mtime",
    "mtimens",
    "flags",
    "name",
    "symlink",
    "uid",
    "gid",
    "xattr",
)

_INSERT = f"INSERT INTO catalog ({', '.join(COLUMNS)}) VALUES "  # noqa: S608 - constants
_VALUES = "(?,?,?,?,?,NULLIF(?,''),?,?,?,?,?,{text},{text},?,?,NULLIF(?,''))"

INSERT_ROW = _INSERT + _VALUES.format(text="?")
"""Takes hash and xattr as ``bytearray``, or as ``""`` for NULL, because Python's SQLite
module is slow with just two types, ``bytes`` and ``None``: it looks for an adapter for
each value of theirs (``need_adapt`` in Modules/_sqlite/statement.c)."""
ROWS_AT_ONCE = 32
INSERT_ROWS = _INSERT + ",".join([_VALUES.format(text="?")] * ROWS_AT_ONCE)
"""The same for many rows at once, which saves a third of the time again."""
INSERT_ROW_OF_BYTES = _INSERT + _VALUES.format(text="CAST(? AS TEXT)")
"""The same for a name or target that is not UTF-8: bound as bytes, stored as TEXT."""
INSERT_CHUNK = "INSERT INTO chunks VALUES (?,?,?,?,?)"
INSERT_NESTED = "INSERT INTO nested_catalogs VALUES (CAST(? AS TEXT), ?, ?)"

FLAG_DIRECTORY = 1
FLAG_MOUNTPOINT = 2
"""The directory is the root of a nested catalog; this is its row in the outer one."""
FLAG_FILE = 4
"""Anything but a directory: regular files, symlinks and special files."""
FLAG_SYMLINK = 8
FLAG_SPECIAL = 16
FLAG_NESTED_ROOT = 32
"""The first row of a nested catalog."""
FLAG_CHUNKED = 64
FLAG_EXTERNAL = 128
ALGORITHM_SHIFT = 8
COMPRESSION_SHIFT = 11
THREE_BITS = 7
FLAG_BIND_MOUNTPOINT = 0x4000
FLAG_HIDDEN = 0x8000

DIRECTORY_SIZE = 4096
"""What the size column of a directory says; clients show it, nothing depends on it,
but both rows of a transition point must agree."""

LINK_GROUP_SHIFT = 32
LINK_COUNT_MASK = 0xFFFFFFFF

_VARIABLE = re.compile(rb"\$\(.*\)", re.DOTALL)


def has_variable(target: bytes) -> bool:
    """Tell whether clients will rewrite this symlink target.

    They replace ``$(NAME)`` from their own environment, and there is no escape.

    Source: cvmfs-format.md section 3.5.
    """
    return _VARIABLE.search(target) is not None
