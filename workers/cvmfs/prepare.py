"""A tree into a nested catalog, ready to be mounted.

The catalog is a function of the tree and its mountpoint alone: the same tree gives the
same bytes, hence the same hash, and publishing it again changes nothing.

Source: cvmfs-format.md sections 3.2, 3.6, 3.7.
"""

import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from workers.cvmfs.collector import collector_paused
from workers.cvmfs.counters import Counters, Statistics
from workers.cvmfs.database import (
    create_database,
    serialized,
    translated,
    write_properties,
)
from workers.cvmfs.dirent import Directory, Dirent, Tree
from workers.cvmfs.errors import InvalidTree
from workers.cvmfs.hash import NO_HASH, ContentHash
from workers.cvmfs.objects import EMPTY_CONTENT
from workers.cvmfs.paths import parent, printable
from workers.cvmfs.row_writer import RowWriter
from workers.cvmfs.schema import (
    MARKER,
    PAGE_BYTES,
    PARENT_INDEX,
    SCHEMA,
    SCHEMA_REVISION,
    TABLES,
)

LOST_MARKER = "reserved name .cvmfscatalog"


@dataclass(frozen=True, slots=True)
class PreparedTree:
    """A tree whose catalog and content are in the storage, but not yet to be seen.

    Attributes:
        path: where it can be mounted; a catalog fits one mountpoint only.
        hash: of the catalog's object.
        size: of its database in bytes, uncompressed.
        root: the tree's own directory.
        link_count: of that directory.
        counters: of its catalog and all nested in it.
        losses: what the format could not hold, by kind, and how often.
        objects_written: catalogs that were new to the storage.
        objects_known: catalogs that were there already.
        complete_at: the ``deletion_mark`` at which everything it names was known to be
            there; ``None`` when a commit has to look it up.
    """

    path: bytes
    hash: ContentHash
    size: int
    root: Dirent
    link_count: int
    counters: Counters
    losses: Mapping[str, int]
    objects_written: int
    objects_known: int
    complete_at: bytes | None = None


@dataclass(frozen=True, slots=True)
class CatalogDraft:
    """A finished catalog as bytes.

    Attributes:
        data: the SQLite database.
        statistics: what stands in it.
        link_count: of its root directory.
        losses: as in ``PreparedTree``.
    """

    data: bytes
    statistics: Statistics
    link_count: int
    losses: Mapping[str, int]


def marker(root: Dirent) -> Dirent:
    """Return the entry that marks the root of a nested catalog (trap 10)."""
    return Dirent(
        stat.S_IFREG | 0o644, root.uid, root.gid, root.mtime, content=EMPTY_CONTENT
    )


def properties_of_catalog(
    mountpoint: bytes, *, revision: int, last_modified: int, previous: ContentHash
) -> dict[str, str]:
    """Return the properties that every catalog has; the root's has more.

    Raises:
        InvalidTree: the mountpoint is not UTF-8, but properties are text.
    """
    properties = {
        "schema": SCHEMA,
        "schema_revision": SCHEMA_REVISION,
        "revision": str(revision),
        "last_modified": str(last_modified),
        "previous_revision": str(previous),
    }
    if mountpoint:
        try:
            properties["root_prefix"] = mountpoint.decode()
        except UnicodeDecodeError as error:
            raise InvalidTree(
                f"no catalog can be mounted at {printable(mountpoint)}: not UTF-8"
            ) from error
    return properties


def draft_catalog(mountpoint: bytes, tree: Tree) -> CatalogDraft:
    """Write one catalog that holds all of a tree.

    Args:
        mountpoint: where it is to be mounted; ``b""`` for a first root catalog.
        tree: with the contents of its files stored already.

    Raises:
        InvalidTree: the tree contradicts itself.
    """
    with collector_paused():
        return _drafted(mountpoint, tree)


def _drafted(mountpoint: bytes, tree: Tree) -> CatalogDraft:
    properties = properties_of_catalog(
        mountpoint,
        revision=1,
        # Not the present time, so that the same tree is the same catalog.
        last_modified=max(tree.root.mtime, 0),
        previous=NO_HASH,
    )
    if not stat.S_ISDIR(tree.root.mode):
        raise InvalidTree(f"the root of a tree has mode {tree.root.mode:o}")
    rows = RowWriter()
    link_counts = _link_counts(tree)
    rows.add_root(mountpoint, tree.root, link_counts[b""])
    directories_seen = 1
    lost_markers = 0
    for path, entries in tree.directories.items():
        kept = entries
        if MARKER in entries:
            kept = _without_marker(path, entries)
            lost_markers += 1
        if not path and mountpoint:
            kept = {**kept, MARKER: marker(tree.root)}
        inner = _subdirectories(path, kept, link_counts)
        directories_seen += len(inner)
        rows.add_entries(mountpoint + b"/" + path if path else mountpoint, kept, inner)
    if directories_seen != len(tree.directories):
        raise InvalidTree("a tree lists directories that are no entries of others")
    losses = rows.count_losses()
    if lost_markers:
        losses[LOST_MARKER] = lost_markers
    statistics = Statistics(rows.counters)
    return CatalogDraft(
        _database(rows, statistics, properties), statistics, link_counts[b""], losses
    )


def _link_counts(tree: Tree) -> dict[bytes, int]:
    """Return the link count of every directory: 2 and one for each in it (trap 8)."""
    counts = Counter(dict.fromkeys(tree.directories, 2))
    if b"" not in counts:
        raise InvalidTree("a tree without a root directory")
    for path in tree.directories:
        if path:
            counts[parent(path)] += 1
    return dict(counts)  # which does not make up what it does not have


def _subdirectories(
    path: bytes, entries: Directory, link_counts: Mapping[bytes, int]
) -> dict[bytes, int]:
    """Return the link counts of those entries that are directories, by name."""
    prefix = path + b"/" if path else b""
    try:
        return {
            name: link_counts[prefix + name]
            for name, dirent in entries.items()
            if stat.S_ISDIR(dirent.mode)
        }
    except KeyError as error:
        raise InvalidTree(
            f"the tree does not list the directory {printable(error.args[0])}"
        ) from error


def _without_marker(path: bytes, entries: Directory) -> Directory:
    if stat.S_ISDIR(entries[MARKER].mode):
        raise InvalidTree(f"{printable(path)} has a directory {MARKER.decode()}")
    return {name: dirent for name, dirent in entries.items() if name != MARKER}


def _database(
    rows: RowWriter, statistics: Statistics, properties: Mapping[str, str]
) -> bytes:
    connection = create_database(TABLES, PAGE_BYTES)
    try:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("BEGIN")
        rows.insert(connection)
        with translated("catalog", into=InvalidTree):
            connection.execute(PARENT_INDEX)
            connection.executemany(
                "INSERT INTO statistics VALUES (?, ?)", statistics.rows()
            )
            write_properties(connection, properties)
        connection.execute("COMMIT")
        return serialized(connection)
    finally:
        connection.close()
