"""A tree into a nested catalog, or several in one another, ready to be mounted.

The catalogs are a function of the tree and its mountpoint alone: the same tree gives
the same bytes, hence the same hash, and publishing it again changes nothing.

Source: cvmfs-format.md sections 3.2, 3.6, 3.7.
"""

import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import reduce

from workers.cvmfs.catalog.counters import Counters, Statistics
from workers.cvmfs.catalog.cutting import CutSize, Part, cut
from workers.cvmfs.catalog.database import (
    create_database,
    serialized,
    translated,
    write_properties,
)
from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.catalog.row_writer import LOST_XATTR, Losses, RowWriter
from workers.cvmfs.catalog.schema import (
    INSERT_NESTED,
    MARKER,
    PAGE_BYTES,
    PARENT_INDEX,
    SCHEMA,
    SCHEMA_REVISION,
    TABLES,
)
from workers.cvmfs.errors import InvalidTree
from workers.cvmfs.objects.objects import EMPTY_CONTENT
from workers.cvmfs.values.dirent import Dirent
from workers.cvmfs.values.hash import NO_HASH, ContentHash
from workers.cvmfs.values.paths import parent, printable
from workers.cvmfs.values.pause_gc import collector_paused
from workers.cvmfs.values.trees import Directory, Tree
from workers.cvmfs.values.xattrs import encode_xattrs

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


@dataclass(frozen=True, slots=True)
class TreeDraft:
    """A tree whose catalogs are stored.

    Attributes:
        catalog: the one in which all others are nested.
        counters: as in ``PreparedTree``.
        link_count: as there.
        losses: as there.
    """

    catalog: NestedCatalog
    counters: Counters
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
        drafter = _Drafter(mountpoint, tree)
        draft = drafter.draft(Part(b"", sorted(tree.directories), []))
        drafter.finish()
        return replace(draft, losses=drafter.losses)


def draft_tree(
    mountpoint: bytes,
    tree: Tree,
    store: Callable[[bytes], ContentHash],
    size: CutSize,
) -> TreeDraft:
    """Write the catalogs of a tree; if it is large, more than one.

    Only one of them is in memory at a time.

    Args:
        mountpoint: absolute path of the outermost catalog; ``b""`` for a first root
            catalog.
        tree: with the contents of its files stored already.
        store: puts the database of a catalog into the storage, and returns its hash.
        size: of the catalogs.

    Raises:
        InvalidTree: the tree contradicts itself.
        whatever ``store`` raises.
    """
    with collector_paused():
        drafter = _Drafter(mountpoint, tree)
        for part in cut(tree.directories.weights(), size):  # the outermost comes last
            draft = drafter.draft(part)
            path = drafter.path(part.top)
            catalog = NestedCatalog(path, store(draft.data), len(draft.data))
            drafter.mounted[part.top] = catalog, draft.statistics.total
            links = draft.link_count
            del draft  # before the next one is written
        drafter.finish()
        top, counters = drafter.mounted[b""]
        return TreeDraft(top, counters, links, drafter.losses)


class _Drafter:
    """Writes the catalogs of one tree.

    Attributes:
        mounted: the catalogs so far, and what each and those in it count, by the
            directory at which they are mounted, relative to the tree.
    """

    def __init__(self, mountpoint: bytes, tree: Tree) -> None:
        if not stat.S_ISDIR(tree.root.mode):
            raise InvalidTree(f"the root of a tree has mode {tree.root.mode:o}")
        self.mounted: dict[bytes, tuple[NestedCatalog, Counters]] = {}
        self._mountpoint = mountpoint
        self._tree = tree
        self._link_counts = _link_counts(tree)
        self._losses = Losses()
        self._directories_seen = 1
        _, lost = encode_xattrs(tree.root.xattrs)
        if lost:
            self._losses.add(LOST_XATTR, lost)

    @property
    def losses(self) -> Mapping[str, int]:
        """What the format could not hold so far."""
        return self._losses.by_kind()

    def path(self, directory: bytes) -> bytes:
        """Return the path in the repository of a directory of the tree."""
        return self._mountpoint + b"/" + directory if directory else self._mountpoint

    def draft(self, part: Part) -> CatalogDraft:
        """Write one catalog, those nested in it being ``mounted``."""
        root = self._dirent(part.top)
        properties = properties_of_catalog(
            self.path(part.top),
            revision=1,
            # Not the present time, so that the same tree is the same catalog.
            last_modified=max(root.mtime, 0),
            previous=NO_HASH,
        )
        link_count = self._link_counts[part.top]
        mounts = [self.mounted[path] for path in part.mountpoints]
        with closing(create_database(TABLES, PAGE_BYTES)) as connection:
            # A database that was read from memory is serialized without a copy of it
            # in between (Modules/_sqlite/connection.c, SQLITE_SERIALIZE_NOCOPY).
            connection.deserialize(connection.serialize())
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("BEGIN")
            counters = self._insert_rows(part, root, connection)
            subtree = reduce(Counters.plus, (total for _, total in mounts), Counters())
            statistics = Statistics(counters._replace(nested=len(mounts)), subtree)
            with translated("catalog", into=InvalidTree):
                connection.execute(PARENT_INDEX)
                connection.executemany(
                    INSERT_NESTED,
                    [
                        (nested.path, str(nested.hash), nested.size)
                        for nested, _ in mounts
                    ],
                )
                connection.executemany(
                    "INSERT INTO statistics VALUES (?, ?)", statistics.rows()
                )
                write_properties(connection, properties)
            connection.execute("COMMIT")
            data = serialized(connection)
        return CatalogDraft(data, statistics, link_count, {})

    def finish(self) -> None:
        """Make sure that all of the tree has been written.

        Raises:
            InvalidTree: it lists what is not in it.
        """
        if self._directories_seen != len(self._tree.directories):
            raise InvalidTree("a tree lists directories that are no entries of others")

    def _insert_rows(
        self, part: Part, root: Dirent, connection: sqlite3.Connection
    ) -> Counters:
        rows = RowWriter(self._losses, connection)
        rows.add_root(self.path(part.top), root, self._link_counts[part.top])
        mountpoints: dict[bytes, set[bytes]] = {}
        for path in part.mountpoints:
            directory, _, name = path.rpartition(b"/")
            mountpoints.setdefault(directory, set()).add(name)
        is_nested = bool(self.path(part.top))
        for path in part.directories:
            entries = self._tree.directories[path]
            if MARKER in entries:
                entries = _without_marker(path, entries)
                self._losses.add(LOST_MARKER)
            if path == part.top and is_nested:
                entries = {**entries, MARKER: marker(root)}
            inner = _subdirectories(path, entries, self._link_counts)
            self._directories_seen += len(inner)
            rows.add_entries(self.path(path), entries, inner, mountpoints.get(path, ()))
        rows.insert()
        return rows.counters

    def _dirent(self, directory: bytes) -> Dirent:
        if not directory:
            return self._tree.root
        outer, _, name = directory.rpartition(b"/")
        dirent = self._tree.directories.find(outer, name)
        if dirent is None or not stat.S_ISDIR(dirent.mode):
            raise InvalidTree(f"{printable(directory)} is listed and no directory")
        return dirent


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
