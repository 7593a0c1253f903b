"""The directories of one catalog, put together from its rows.

Rows carry the hashes of their own path and of their parent's, but no path. Only
directories are held in memory, so that a catalog of half a million files costs little
more than its database.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from workers.cvmfs.catalog.schema import (
    FLAG_BIND_MOUNTPOINT,
    FLAG_MOUNTPOINT,
    LINK_COUNT_MASK,
)
from workers.cvmfs.checking.finding import Finding
from workers.cvmfs.values.hash import path_key

Key = tuple[int, int]

_SELECT_DIRECTORIES = """
SELECT md5path_1, md5path_2, parent_1, parent_2, name, flags, hardlinks
FROM catalog WHERE mode & 61440 = 16384 AND typeof(name) = 'text'
AND typeof(flags) = 'integer' AND typeof(hardlinks) = 'integer'"""
_OWN_LINKS = 2
"""The links every directory has: its name in its parent, and its own ``.``."""


@dataclass(slots=True)
class Layout:
    """Where the directories of a catalog are.

    Attributes:
        mountpoint: of the catalog.
        paths: of directories whose entries are in this catalog, by path key. One that
            is filed under a wrong key is found under that and under its true one.
        nested: paths of the mountpoints of nested catalogs, by path key.
        bound: paths of bind mountpoints, by path key.
        unreached: path keys of directories that nothing leads to.
        link_counts: what is wrong with the link counts of directories.
    """

    mountpoint: bytes
    paths: dict[Key, bytes] = field(default_factory=dict)
    nested: dict[Key, bytes] = field(default_factory=dict)
    bound: dict[Key, bytes] = field(default_factory=dict)
    unreached: set[Key] = field(default_factory=set)
    link_counts: list[Finding] = field(default_factory=list)

    def path(self, key: Key, parent: Key, name: object) -> bytes:
        """Return the path of an entry, as well as it can be told."""
        if key == path_key(self.mountpoint):
            return self.mountpoint
        directory = self.paths.get(parent)
        if directory is None:
            directory = self.nested.get(parent) or self.bound.get(parent)
        if directory is None:
            directory = self.mountpoint + b"/..."
        return directory + b"/" + (name if isinstance(name, bytes) else b"?")


def read_layout(connection: sqlite3.Connection, mountpoint: bytes) -> Layout:
    """Follow the directories of a catalog from its root down."""
    root_key = path_key(mountpoint)
    entries_of: defaultdict[Key, list[tuple[Key, bytes, int, int]]] = defaultdict(list)
    root_links = None
    for first, second, parent_1, parent_2, name, flags, links in connection.execute(
        _SELECT_DIRECTORIES
    ):
        key = (first, second)
        if key == root_key:
            root_links = links
        else:
            entries_of[parent_1, parent_2].append((key, name, flags, links))
    layout = Layout(mountpoint)
    if root_links is None:
        return layout
    pending = [(mountpoint, root_key, root_links)]
    while pending:
        path, key, links = pending.pop()
        true_key = path_key(path)
        if key in layout.paths:
            continue  # rows that lead in circles, by wrong path keys
        layout.paths[key] = layout.paths[true_key] = path
        entries = entries_of.get(key, [])
        if true_key != key:
            entries = entries + entries_of.get(true_key, [])
        layout.link_counts += _wrong_links(path, links, len(entries))
        for inner_key, name, flags, inner_links in entries:
            inner = path + b"/" + name
            if flags & FLAG_MOUNTPOINT:
                layout.nested[inner_key] = inner
            elif flags & FLAG_BIND_MOUNTPOINT:
                layout.bound[inner_key] = inner
            else:
                pending.append((inner, inner_key, inner_links))
    layout.unreached = {
        key
        for entries in entries_of.values()
        for key, *_ in entries
        if not (key in layout.paths or key in layout.nested or key in layout.bound)
    }
    return layout


def _wrong_links(path: bytes, hardlinks: int, subdirectories: int) -> Iterator[Finding]:
    count = hardlinks & LINK_COUNT_MASK
    if count != subdirectories + _OWN_LINKS:
        yield Finding.at(
            path,
            f"has link count {count} but {subdirectories} directories in it,"
            f" so it must be {subdirectories + _OWN_LINKS}",
        )
