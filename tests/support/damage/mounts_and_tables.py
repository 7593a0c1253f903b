"""Mistakes in how catalogs hang together, and in their frames."""

from tests.support.damage.damage import (
    ROOT,
    change_catalog,
    key_of,
    parent_of,
    where_path,
)
from tests.support.damage.editable_repository import INNER, OUTER

_INDEX = "idx_catalog_parent"
_OTHER_INDEX = f"CREATE INDEX {_INDEX} ON catalog (parent_1, gid)"

BOUND = (
    "UPDATE catalog SET mode = 16877, flags = 16385, symlink = '', hardlinks = 2 "
    + where_path("/latest"),
    f"UPDATE catalog SET hardlinks = hardlinks + 1 {where_path('')}",
)
BIND = (
    "INSERT INTO bind_mountpoints SELECT '/latest', sha1, size FROM nested_catalogs"
    " WHERE path = '/image'"
)

MOUNTS = (
    change_catalog(
        "an entry lies under a mountpoint in the outer catalog",
        ROOT,
        f"UPDATE catalog SET {key_of('/image/latest')}, {parent_of('/image')}"
        f" {where_path('/latest')}",
        "/image: is a mountpoint, yet the catalog has 1 entries, as b'latest', in it",
    ),
    change_catalog(
        "a mountpoint has no catalog",
        ROOT,
        "DELETE FROM nested_catalogs WHERE path = '/image'",
        "/image: is a mountpoint for which no catalog is registered",
        nested=-1,
    ),
    change_catalog(
        "a catalog is registered for a path that is not there",
        ROOT,
        "INSERT INTO nested_catalogs SELECT '/gone', sha1, size FROM nested_catalogs"
        " WHERE path = '/image'",
        "/gone: has a nested catalog registered but is no mountpoint",
        nested=1,
    ),
    change_catalog(
        "a catalog is registered for a directory that is no mountpoint",
        ROOT,
        f"UPDATE catalog SET flags = 1 {where_path('/image')}",
        "/image: has link count 3 but 0 directories in it",
        "/image: has a nested catalog registered but is no mountpoint",
    ),
    change_catalog(
        "a mountpoint is of two kinds",
        ROOT,
        f"UPDATE catalog SET flags = flags | 16384 {where_path('/image')}",
        "/image: is a nested and a bind mountpoint at once",
    ),
    change_catalog(
        "a mountpoint is registered as of two kinds",
        ROOT,
        "INSERT INTO bind_mountpoints SELECT * FROM nested_catalogs"
        " WHERE path = '/image'",
        "/image: is registered as nested catalog and as bind mountpoint",
        "/image: has a bound catalog registered but is no mountpoint",
    ),
    change_catalog(
        "a bind mountpoint has no catalog",
        ROOT,
        BOUND,
        "/latest: is a bind mountpoint for which no catalog is registered",
        symlink=-1,
        dir=1,
    ),
    change_catalog(
        "a bound catalog is missing",
        ROOT,
        (*BOUND, BIND, f"UPDATE bind_mountpoints SET sha1 = '{'5a' * 20}'"),
        "/latest: object data/5a/",
        stock=False,
        symlink=-1,
        dir=1,
    ),
    change_catalog(
        "a nested catalog has no hash",
        ROOT,
        "UPDATE nested_catalogs SET sha1 = 'none' WHERE path = '/image'",
        "/image: catalog registered there has no hash: not a content hash: 'none'",
        stock=None,
    ),
    change_catalog(
        "the size of a nested catalog is nonsense",
        ROOT,
        "UPDATE nested_catalogs SET size = 'big' WHERE path = '/image'",
        "/image: catalog registered there has size b'big'",
        stock=False,
    ),
    change_catalog(
        "the size of a nested catalog is wrong",
        OUTER,
        "UPDATE nested_catalogs SET size = size + 1",
        "/shelf/other: catalog data/",
    ),
    change_catalog(
        "a path of a nested catalog is no text",
        ROOT,
        "INSERT INTO nested_catalogs VALUES (NULL, '', 0)",
        "/: catalog has the path None in nested_catalogs",
        stock=None,
        nested=1,
    ),
    change_catalog(
        "a nested catalog was made for another path",
        INNER,
        "UPDATE properties SET value = '/elsewhere' WHERE key = 'root_prefix'",
        "/shelf/other: catalog has the root_prefix '/elsewhere'",
    ),
    change_catalog(
        "a nested catalog does not say for which path it was made",
        INNER,
        "DELETE FROM properties WHERE key = 'root_prefix'",
        "/shelf/other: catalog has no root_prefix",
    ),
    change_catalog(
        "the root catalog was made for a path",
        ROOT,
        "INSERT INTO properties VALUES ('root_prefix', '/image')",
        "/: catalog has the root_prefix '/image'",
    ),
    change_catalog(
        "a catalog has no root",
        INNER,
        f"UPDATE catalog SET md5path_1 = 1 {where_path('/shelf/other')}",
        "/shelf/other: catalog has no directory for its root",
    ),
    change_catalog(
        "the root of a nested catalog is not marked",
        INNER,
        f"UPDATE catalog SET flags = 1 {where_path('/shelf/other')}",
        "/shelf/other: root of the nested catalog is not marked as such",
    ),
    change_catalog(
        "the root of the root catalog is marked as nested",
        ROOT,
        f"UPDATE catalog SET flags = 33 {where_path('')}",
        "/: root of the root catalog is marked as that of a nested one",
    ),
    change_catalog(
        "the root of a catalog is a mountpoint",
        ROOT,
        f"UPDATE catalog SET flags = 3 {where_path('')}",
        "/: root of the catalog is marked as a mountpoint",
        stock=False,
    ),
    change_catalog(
        "the root of the root catalog has a parent",
        ROOT,
        f"UPDATE catalog SET parent_1 = 1 {where_path('')}",
        "/: root of the catalog has the wrong parent",
        stock=False,
    ),
    change_catalog(
        "the root of the root catalog has a name",
        ROOT,
        f"UPDATE catalog SET name = 'root' {where_path('')}",
        "/: root of the catalog has name b'root'",
        stock=False,
    ),
    change_catalog(
        "the rows of a mountpoint differ in time",
        INNER,
        f"UPDATE catalog SET mtime = 7, mtimens = 8 {where_path('/shelf/other')}",
        "/shelf/other: mountpoint and root of the nested catalog differ in mtime (18",
    ),
    change_catalog(
        "the rows of a mountpoint differ in owner",
        INNER,
        f"UPDATE catalog SET gid = 7 {where_path('/shelf/other')}",
        "/shelf/other: mountpoint and root of the nested catalog differ in gid (0 an",
        stock=False,
    ),
)

TABLES = (
    change_catalog(
        "a counter is wrong",
        INNER,
        "UPDATE statistics SET value = 7 WHERE counter = 'self_regular'",
        "/shelf/other: catalog counter self_regular is 7, its entries give 2",
    ),
    change_catalog(
        "a counter of what is nested is wrong",
        ROOT,
        "UPDATE statistics SET value = 7 WHERE counter = 'subtree_nested'",
        "/: catalog counter subtree_nested is 7, its entries give 1",
    ),
    change_catalog(
        "a counter is missing",
        INNER,
        "DELETE FROM statistics WHERE counter = 'self_regular'",
        "/shelf/other: catalog has no counter self_regular: it does not load",
    ),
    change_catalog(
        "a catalog has no index of parents",
        INNER,
        "DROP INDEX idx_catalog_parent",
        "/shelf/other: catalog has no index idx_catalog_parent",
        stock=False,
    ),
    change_catalog(
        "a catalog lacks a table",
        INNER,
        "DROP TABLE bind_mountpoints",
        "/shelf/other: catalog of schema revision 7 has no table bind_mountpoints",
        stock=None,
    ),
    change_catalog(
        "a catalog lacks a table that all have",
        INNER,
        "DROP TABLE chunks",
        "/shelf/other: catalog of schema revision 7 has no table chunks",
        stock=None,
    ),
    change_catalog(
        "a catalog has a view for a table",
        INNER,
        ("DROP TABLE chunks", "CREATE VIEW chunks AS SELECT 1 AS md5path_1"),
        "/shelf/other: catalog has something else for table chunks",
        stock=None,
    ),
    change_catalog(
        "a catalog is of a later revision than it says",
        INNER,
        "UPDATE properties SET value = '6' WHERE key = 'schema_revision'",
        "/shelf/other: catalog of schema revision 6 has the column catalog.mtimens",
        stock=None,
    ),
    change_catalog(
        "a catalog is of another schema",
        INNER,
        "UPDATE properties SET value = '3.0' WHERE key = 'schema'",
        "/shelf/other: catalog has schema '3.0', not 2.5",
        stock=None,
    ),
    change_catalog(
        "the predecessor of a catalog is no hash",
        INNER,
        "UPDATE properties SET value = 'none' WHERE key = 'previous_revision'",
        "/shelf/other: catalog has a previous_revision: not a content hash",
        stock=False,
    ),
    change_catalog(
        "the revision of a catalog is no number",
        INNER,
        "UPDATE properties SET value = 'many' WHERE key = 'revision'",
        "/shelf/other: catalog has revision 'many', no number",
        stock=False,
    ),
    change_catalog(
        "a catalog does not say when it was made",
        INNER,
        "DELETE FROM properties WHERE key = 'last_modified'",
        "/shelf/other: catalog has no last_modified",
        stock=False,
    ),
    change_catalog(
        "an index does not have what its table has",
        INNER,
        (
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_master SET sql = '{_OTHER_INDEX}' WHERE name = '{_INDEX}'",
        ),
        *["/shelf/other: catalog is a damaged database: row "] * 3,
        stock=False,
    ),
)
