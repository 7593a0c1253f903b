"""Mistakes in how catalogs hang together, and in their frames."""

from tests.support.damage.damage import ROOT, at, key_of, parent_of, sql
from tests.support.damage.editable_repository import OTHER, SHELF

_INDEX = "idx_catalog_parent"
_OTHER_INDEX = f"CREATE INDEX {_INDEX} ON catalog (parent_1, gid)"

BOUND = (
    "UPDATE catalog SET mode = 16877, flags = 16385, symlink = '', hardlinks = 2 "
    + at("/latest"),
    f"UPDATE catalog SET hardlinks = hardlinks + 1 {at('')}",
)
BIND = (
    "INSERT INTO bind_mountpoints SELECT '/latest', sha1, size FROM nested_catalogs"
    " WHERE path = '/image'"
)

MOUNTS = (
    sql(
        "an entry lies under a mountpoint in the outer catalog",
        ROOT,
        f"UPDATE catalog SET {key_of('/image/latest')}, {parent_of('/image')}"
        f" {at('/latest')}",
        "/image: is a mountpoint, yet the catalog has 1 entries, as b'latest', in it",
    ),
    sql(
        "a mountpoint has no catalog",
        ROOT,
        "DELETE FROM nested_catalogs WHERE path = '/image'",
        "/image: is a mountpoint for which no catalog is registered",
        nested=-1,
    ),
    sql(
        "a catalog is registered for a path that is not there",
        ROOT,
        "INSERT INTO nested_catalogs SELECT '/gone', sha1, size FROM nested_catalogs"
        " WHERE path = '/image'",
        "/gone: has a nested catalog registered but is no mountpoint",
        nested=1,
    ),
    sql(
        "a catalog is registered for a directory that is no mountpoint",
        ROOT,
        f"UPDATE catalog SET flags = 1 {at('/image')}",
        "/image: has link count 3 but 0 directories in it",
        "/image: has a nested catalog registered but is no mountpoint",
    ),
    sql(
        "a mountpoint is of two kinds",
        ROOT,
        f"UPDATE catalog SET flags = flags | 16384 {at('/image')}",
        "/image: is a nested and a bind mountpoint at once",
    ),
    sql(
        "a mountpoint is registered as of two kinds",
        ROOT,
        "INSERT INTO bind_mountpoints SELECT * FROM nested_catalogs"
        " WHERE path = '/image'",
        "/image: is registered as nested catalog and as bind mountpoint",
        "/image: has a bound catalog registered but is no mountpoint",
    ),
    sql(
        "a bind mountpoint has no catalog",
        ROOT,
        BOUND,
        "/latest: is a bind mountpoint for which no catalog is registered",
        symlink=-1,
        dir=1,
    ),
    sql(
        "a bound catalog is missing",
        ROOT,
        (*BOUND, BIND, f"UPDATE bind_mountpoints SET sha1 = '{'5a' * 20}'"),
        "/latest: object data/5a/",
        stock=False,
        symlink=-1,
        dir=1,
    ),
    sql(
        "a nested catalog has no hash",
        ROOT,
        "UPDATE nested_catalogs SET sha1 = 'none' WHERE path = '/image'",
        "/image: catalog registered there has no hash: not a content hash: 'none'",
        stock=None,
    ),
    sql(
        "the size of a nested catalog is nonsense",
        ROOT,
        "UPDATE nested_catalogs SET size = 'big' WHERE path = '/image'",
        "/image: catalog registered there has size b'big'",
        stock=False,
    ),
    sql(
        "the size of a nested catalog is wrong",
        SHELF,
        "UPDATE nested_catalogs SET size = size + 1",
        "/shelf/other: catalog data/",
    ),
    sql(
        "a path of a nested catalog is no text",
        ROOT,
        "INSERT INTO nested_catalogs VALUES (NULL, '', 0)",
        "/: catalog has the path None in nested_catalogs",
        stock=None,
        nested=1,
    ),
    sql(
        "a nested catalog was made for another path",
        OTHER,
        "UPDATE properties SET value = '/elsewhere' WHERE key = 'root_prefix'",
        "/shelf/other: catalog has the root_prefix '/elsewhere'",
    ),
    sql(
        "a nested catalog does not say for which path it was made",
        OTHER,
        "DELETE FROM properties WHERE key = 'root_prefix'",
        "/shelf/other: catalog has no root_prefix",
    ),
    sql(
        "the root catalog was made for a path",
        ROOT,
        "INSERT INTO properties VALUES ('root_prefix', '/image')",
        "/: catalog has the root_prefix '/image'",
    ),
    sql(
        "a catalog has no root",
        OTHER,
        f"UPDATE catalog SET md5path_1 = 1 {at('/shelf/other')}",
        "/shelf/other: catalog has no directory for its root",
    ),
    sql(
        "the root of a nested catalog is not marked",
        OTHER,
        f"UPDATE catalog SET flags = 1 {at('/shelf/other')}",
        "/shelf/other: root of the nested catalog is not marked as such",
    ),
    sql(
        "the root of the root catalog is marked as nested",
        ROOT,
        f"UPDATE catalog SET flags = 33 {at('')}",
        "/: root of the root catalog is marked as that of a nested one",
    ),
    sql(
        "the root of a catalog is a mountpoint",
        ROOT,
        f"UPDATE catalog SET flags = 3 {at('')}",
        "/: root of the catalog is marked as a mountpoint",
        stock=False,
    ),
    sql(
        "the root of the root catalog has a parent",
        ROOT,
        f"UPDATE catalog SET parent_1 = 1 {at('')}",
        "/: root of the catalog has the wrong parent",
        stock=False,
    ),
    sql(
        "the root of the root catalog has a name",
        ROOT,
        f"UPDATE catalog SET name = 'root' {at('')}",
        "/: root of the catalog has name b'root'",
        stock=False,
    ),
    sql(
        "the rows of a mountpoint differ in time",
        OTHER,
        f"UPDATE catalog SET mtime = 7, mtimens = 8 {at('/shelf/other')}",
        "/shelf/other: mountpoint and root of the nested catalog differ in mtime (18",
    ),
    sql(
        "the rows of a mountpoint differ in owner",
        OTHER,
        f"UPDATE catalog SET gid = 7 {at('/shelf/other')}",
        "/shelf/other: mountpoint and root of the nested catalog differ in gid (0 an",
        stock=False,
    ),
)

TABLES = (
    sql(
        "a counter is wrong",
        OTHER,
        "UPDATE statistics SET value = 7 WHERE counter = 'self_regular'",
        "/shelf/other: catalog counter self_regular is 7, its entries give 2",
    ),
    sql(
        "a counter of what is nested is wrong",
        ROOT,
        "UPDATE statistics SET value = 7 WHERE counter = 'subtree_nested'",
        "/: catalog counter subtree_nested is 7, its entries give 1",
    ),
    sql(
        "a counter is missing",
        OTHER,
        "DELETE FROM statistics WHERE counter = 'self_regular'",
        "/shelf/other: catalog has no counter self_regular: it does not load",
    ),
    sql(
        "a catalog has no index of parents",
        OTHER,
        "DROP INDEX idx_catalog_parent",
        "/shelf/other: catalog has no index idx_catalog_parent",
        stock=False,
    ),
    sql(
        "a catalog lacks a table",
        OTHER,
        "DROP TABLE bind_mountpoints",
        "/shelf/other: catalog of schema revision 7 has no table bind_mountpoints",
        stock=None,
    ),
    sql(
        "a catalog lacks a table that all have",
        OTHER,
        "DROP TABLE chunks",
        "/shelf/other: catalog of schema revision 7 has no table chunks",
        stock=None,
    ),
    sql(
        "a catalog has a view for a table",
        OTHER,
        ("DROP TABLE chunks", "CREATE VIEW chunks AS SELECT 1 AS md5path_1"),
        "/shelf/other: catalog has something else for table chunks",
        stock=None,
    ),
    sql(
        "a catalog is of a later revision than it says",
        OTHER,
        "UPDATE properties SET value = '6' WHERE key = 'schema_revision'",
        "/shelf/other: catalog of schema revision 6 has the column catalog.mtimens",
        stock=None,
    ),
    sql(
        "a catalog is of another schema",
        OTHER,
        "UPDATE properties SET value = '3.0' WHERE key = 'schema'",
        "/shelf/other: catalog has schema '3.0', not 2.5",
        stock=None,
    ),
    sql(
        "the predecessor of a catalog is no hash",
        OTHER,
        "UPDATE properties SET value = 'none' WHERE key = 'previous_revision'",
        "/shelf/other: catalog has a previous_revision: not a content hash",
        stock=False,
    ),
    sql(
        "the revision of a catalog is no number",
        OTHER,
        "UPDATE properties SET value = 'many' WHERE key = 'revision'",
        "/shelf/other: catalog has revision 'many', no number",
        stock=False,
    ),
    sql(
        "a catalog does not say when it was made",
        OTHER,
        "DELETE FROM properties WHERE key = 'last_modified'",
        "/shelf/other: catalog has no last_modified",
        stock=False,
    ),
    sql(
        "an index does not have what its table has",
        OTHER,
        (
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_master SET sql = '{_OTHER_INDEX}' WHERE name = '{_INDEX}'",
        ),
        *["/shelf/other: catalog is a damaged database: row "] * 3,
        stock=False,
    ),
)
