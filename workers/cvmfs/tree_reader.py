"""A whole nested catalog as a ``Tree``, fast.

Rows carry the hash of their parent's path and no path themselves, so reading is: file
each row under its parent's hash, then follow the directories down from the root.
"""

import stat
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from workers.cvmfs.catalog import Catalog, Key, NestedCatalog
from workers.cvmfs.collector import collector_paused
from workers.cvmfs.database import translated
from workers.cvmfs.dirent import Content, Directory, Dirent, Tree
from workers.cvmfs.errors import Malformed
from workers.cvmfs.hash import DIGEST_SIZE, path_key
from workers.cvmfs.paths import joined_names, printable
from workers.cvmfs.rows import Row
from workers.cvmfs.schema import (
    ALGORITHM_SHIFT,
    COMPRESSION_SHIFT,
    FLAG_CHUNKED,
    FLAG_EXTERNAL,
    FLAG_HIDDEN,
    FLAG_MOUNTPOINT,
    LINK_GROUP_SHIFT,
    MARKER,
    THREE_BITS,
)
from workers.cvmfs.xattrs import decode_xattrs

_TYPE_BITS = ~0o7777  # all above the permissions, so that no odd mode is usual
_USUAL = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
_UNUSUAL = FLAG_CHUNKED | FLAG_EXTERNAL | FLAG_HIDDEN


def read_tree(
    catalog: Catalog, load_nested: Callable[[NestedCatalog], Catalog]
) -> Tree:
    """Read a catalog and all that are nested below it.

    Args:
        catalog: the one whose mountpoint shall be the root of the tree.
        load_nested: opens a catalog nested in another.

    Raises:
        Malformed: rows without a parent, mountpoints without a catalog.
    """
    with collector_paused():
        return _read_all(catalog, load_nested)


def _read_all(
    catalog: Catalog, load_nested: Callable[[NestedCatalog], Catalog]
) -> Tree:
    tree, mountpoints = _read_catalog(catalog)
    top = catalog.mountpoint
    pending = list(_nested_at(catalog, mountpoints))
    groups = _highest_group(tree.directories)
    while pending:
        inner = load_nested(pending.pop())
        inner_tree, mountpoints = _read_catalog(inner)
        pending += _nested_at(inner, mountpoints)
        # Groups are numbered per catalog; keep those of different ones apart.
        groups += _renumber(inner_tree.directories, groups)
        prefix = inner.mountpoint[len(top) + 1 :]
        for path, entries in inner_tree.directories.items():
            tree.directories[prefix + b"/" + path if path else prefix] = entries
    return tree


def _nested_at(catalog: Catalog, mountpoints: list[bytes]) -> list[NestedCatalog]:
    nested = {reference.path: reference for reference in catalog.nested()}
    try:
        return [nested[path] for path in mountpoints]
    except KeyError as error:
        raise Malformed(
            f"mountpoint {printable(error.args[0])} names no catalog"
        ) from error


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The rows of one catalog, filed under the path keys of their parents."""

    root: Dirent
    entries_of: defaultdict[Key, Directory]
    directories_of: defaultdict[Key, list[tuple[bytes, Key, int]]]
    """Of each entry that is a directory: its name, path key and flags."""


def _read_catalog(catalog: Catalog) -> tuple[Tree, list[bytes]]:
    """Read one catalog; its mountpoints come as directories without a key."""
    shelf = _filed(catalog)
    mountpoints = []
    directories: dict[bytes, Directory] = {}
    pending = [(b"", path_key(catalog.mountpoint))]
    while pending:
        path, key = pending.pop()
        directories[path] = shelf.entries_of.pop(key, {})
        for name, inner_key, flags in shelf.directories_of.get(key, ()):
            inner = path + b"/" + name if path else name
            if flags & FLAG_MOUNTPOINT:
                mountpoints.append(catalog.mountpoint + b"/" + inner)
            else:
                pending.append((inner, inner_key))
    if any(shelf.entries_of.values()):
        raise Malformed(
            f"catalog of {printable(catalog.mountpoint)} has rows without a parent"
        )
    if catalog.mountpoint:
        directories[b""].pop(MARKER, None)
    return Tree(shelf.root, directories), mountpoints


def _filed(catalog: Catalog) -> _Shelf:
    root_key = path_key(catalog.mountpoint)
    root: Dirent | None = None
    entries_of: defaultdict[Key, Directory] = defaultdict(dict)
    directories_of: defaultdict[Key, list[tuple[bytes, Key, int]]] = defaultdict(list)
    chunks = catalog.all_chunks()
    numbers = 0
    with translated("catalog"):
        for row in catalog.scan():
            (
                first, second, parent_first, parent_second, hardlinks, digest, size,
                mode, mtime, mtime_ns, flags, name, target, uid, gid, xattr,
            ) = row  # fmt: skip
            mtime_ns = mtime_ns or 0
            # Columns may hold any type: what is no number raises TypeError here, or
            # makes the sum a float.
            numbers += size + mtime + mtime_ns + uid + gid
            kind = mode & _TYPE_BITS
            if flags & _UNUSUAL or kind not in _USUAL:
                if not flags & FLAG_HIDDEN:
                    entries_of[parent_first, parent_second][name] = Row(*row).dirent(
                        chunks.get((first, second), ())
                    )
                continue
            # Nearly all rows are these three kinds: without the detour over Row.
            dirent = Dirent(
                mode,
                uid,
                gid,
                mtime,
                mtime_ns,
                Content(
                    digest,
                    size,
                    flags >> COMPRESSION_SHIFT & THREE_BITS,
                    (),
                    flags >> ALGORITHM_SHIFT & THREE_BITS,
                )
                if kind == stat.S_IFREG
                else None,
                target,
                0,
                decode_xattrs(xattr) if xattr is not None else (),
                hardlinks >> LINK_GROUP_SHIFT,
            )
            if kind == stat.S_IFDIR:
                key = (first, second)
                if key == root_key:
                    root = dirent
                    continue
                directories_of[parent_first, parent_second].append((name, key, flags))
            elif kind == stat.S_IFREG and len(digest) != DIGEST_SIZE:
                raise Malformed(f"catalog has an unsound row: {row}")
            entries_of[parent_first, parent_second][name] = dirent
        if joined_names(list(chain.from_iterable(entries_of.values()))) is None:
            raise Malformed("catalog has an entry whose name is none")
    if root is None or not isinstance(numbers, int):
        raise Malformed(f"catalog of {printable(catalog.mountpoint)} is unsound")
    return _Shelf(root, entries_of, directories_of)


def _highest_group(directories: dict[bytes, Directory]) -> int:
    return max(
        (
            dirent.link_group
            for entries in directories.values()
            for dirent in entries.values()
        ),
        default=0,
    )


def _renumber(directories: dict[bytes, Directory], offset: int) -> int:
    """Add ``offset`` to all hard link groups; return the highest as it was."""
    highest = _highest_group(directories)
    if highest:
        for entries in directories.values():
            for name, dirent in entries.items():
                if dirent.link_group:
                    entries[name] = dirent._replace(
                        link_group=dirent.link_group + offset
                    )
    return highest
