"""A catalog and all that are nested in it as a tree, fast and one directory at a time.

Rows carry the hash of their parent's path and no path themselves. So a catalog is read
twice: its directories alone, to know their paths, and then all rows in the order of
their parents, which the index gives. Memory holds one catalog and its directories'
paths, however large the tree is.
"""

import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.cvmfs.catalog.database import translated
from workers.cvmfs.catalog.reader import Catalog, Key, NestedCatalog
from workers.cvmfs.catalog.rows import Row
from workers.cvmfs.catalog.schema import (
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
from workers.cvmfs.errors import Malformed
from workers.cvmfs.values.dirent import Content, Dirent
from workers.cvmfs.values.hash import DIGEST_SIZE, path_key
from workers.cvmfs.values.paths import joined_names, printable
from workers.cvmfs.values.pause_gc import collector_paused
from workers.cvmfs.values.trees import Directories, Directory, Tree
from workers.cvmfs.values.xattrs import decode_xattrs

_TYPE_BITS = ~0o7777  # all above the permissions, so that no odd mode is usual
_USUAL = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
_UNUSUAL = FLAG_CHUNKED | FLAG_EXTERNAL | FLAG_HIDDEN

LoadNested = Callable[[NestedCatalog], Catalog]
"""Opens a catalog that is nested in another; it is forgotten once it has been read."""


@dataclass(frozen=True, slots=True)
class StreamedTree:
    """A tree that is too large to be held as a whole.

    Attributes:
        root: the attributes of the top directory itself.
        directories: the items of a ``Tree``'s, each path once, the root first and the
            others in no order; to be gone through once. Only at its end it is proven
            that the catalogs are sound; until then it raises what ``read_tree`` does.
    """

    root: Dirent
    directories: Iterator[tuple[bytes, Directory]]


def read_tree(catalog: Catalog, load_nested: LoadNested) -> Tree:
    """Read a catalog and all that are nested below it.

    Args:
        catalog: the one whose mountpoint shall be the root of the tree.
        load_nested: opens a catalog nested in another.

    Raises:
        Malformed: rows without a parent, mountpoints without a catalog.
    """
    with collector_paused():
        streamed = stream_tree(catalog, load_nested)
        directories = Directories()
        for path, entries in streamed.directories:
            directories[path] = entries
        return Tree(streamed.root, directories)


def stream_tree(catalog: Catalog, load_nested: LoadNested) -> StreamedTree:
    """Begin to read the same, one directory at a time.

    Raises:
        Malformed: the catalog has no root.
    """
    row = catalog.row(catalog.mountpoint)
    if row is None or row.mode & _TYPE_BITS != stat.S_IFDIR:
        raise Malformed(f"catalog of {printable(catalog.mountpoint)} has no root")
    return StreamedTree(row.dirent(), _all_directories(catalog, load_nested))


def _all_directories(
    catalog: Catalog, load_nested: LoadNested
) -> Iterator[tuple[bytes, Directory]]:
    top = len(catalog.mountpoint) + 1
    reader = _CatalogReader(catalog, 0)
    yield from reader.directories(b"")
    pending = reader.nested()
    while pending:
        reference = pending.pop()
        # Groups are numbered per catalog; keep those of different ones apart.
        groups = reader.groups
        del catalog, reader  # one database at a time
        catalog = load_nested(reference)
        reader = _CatalogReader(catalog, groups)
        yield from reader.directories(reference.path[top:])
        pending += reader.nested()


class _CatalogReader:
    """Reads one catalog.

    Attributes:
        groups: the highest number of a hard link group so far.
    """

    def __init__(self, catalog: Catalog, groups: int) -> None:
        self.groups = groups
        self._groups_before = groups
        self._catalog = catalog
        self._root = path_key(catalog.mountpoint)
        self._mountpoints: list[bytes] = []

    def directories(self, prefix: bytes) -> Iterator[tuple[bytes, Directory]]:
        """Yield the directories of the catalog, their paths beginning with ``prefix``.

        Raises:
            Malformed: rows without a parent, or of odd types.
        """
        with translated("catalog"):
            paths = self._paths(prefix)
            for key, entries in self._filed():
                path = paths.pop(key, None)
                if path is None:
                    raise Malformed(f"{self._what} has rows without a parent")
                if joined_names(entries) is None:
                    raise Malformed("catalog has an entry whose name is none")
                if key == self._root and self._catalog.mountpoint:
                    entries.pop(MARKER, None)
                yield path, entries
        for path in paths.values():
            yield path, {}

    def nested(self) -> list[NestedCatalog]:
        """Return the catalogs of the mountpoints that ``directories`` came across."""
        if not self._mountpoints:
            return []
        nested = {reference.path: reference for reference in self._catalog.nested()}
        try:
            return [nested[path] for path in self._mountpoints]
        except KeyError as error:
            raise Malformed(
                f"mountpoint {printable(error.args[0])} names no catalog"
            ) from error

    def _paths(self, prefix: bytes) -> dict[Key, bytes]:
        """Return the paths of the directories whose entries are in this catalog."""
        below: defaultdict[Key, list[tuple[bytes, Key, int]]] = defaultdict(list)
        for first, second, *parent, name, flags in self._catalog.scan_directories():
            if (first, second) != self._root:
                below[parent[0], parent[1]].append((name, (first, second), flags))
        before = prefix + b"/" if prefix else b""
        paths = {self._root: prefix}
        pending = [(self._root, before)]
        while pending:
            key, above = pending.pop()
            for name, inner, flags in below.pop(key, ()):
                path = above + name
                if flags & FLAG_MOUNTPOINT:
                    inside = path[len(before) :]
                    self._mountpoints.append(self._catalog.mountpoint + b"/" + inside)
                elif inner in paths:
                    raise Malformed(f"{self._what} has a directory twice")
                else:
                    paths[inner] = path
                    pending.append((inner, path + b"/"))
        return paths

    def _filed(self) -> Iterator[tuple[Key, dict[bytes, Dirent]]]:
        """Yield the entries of each directory that has any, by its path key."""
        chunks = self._catalog.all_chunks()
        numbers = 0
        here: Key = (0, 0)
        entries: dict[bytes, Dirent] = {}
        for row in self._catalog.scan():
            (
                first, second, parent_first, parent_second, hardlinks, digest, size,
                mode, mtime, mtime_ns, flags, name, target, uid, gid, xattr,
            ) = row  # fmt: skip
            if here[1] != parent_second or here[0] != parent_first:
                if entries:
                    yield here, entries
                    entries = {}
                here = (parent_first, parent_second)
            mtime_ns = mtime_ns or 0
            # Columns may hold any type: what is no number raises TypeError here, or
            # makes the sum a float.
            numbers += size + mtime + mtime_ns + uid + gid
            kind = mode & _TYPE_BITS
            if flags & _UNUSUAL or kind not in _USUAL:
                if not flags & FLAG_HIDDEN:
                    dirent = Row(*row).dirent(chunks.get((first, second), ()))
                    group = self._numbered(dirent.link_group)
                    entries[name] = dirent._replace(link_group=group)
                continue
            # Nearly all rows are these three kinds: without the detour over Row.
            if kind == stat.S_IFREG and len(digest) != DIGEST_SIZE:
                raise Malformed(f"catalog has an unsound row: {row}")
            group = hardlinks >> LINK_GROUP_SHIFT
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
                self._numbered(group) if group else 0,
            )
            if kind != stat.S_IFDIR or (first, second) != self._root:
                entries[name] = dirent
        if not isinstance(numbers, int):
            raise Malformed(f"{self._what} is unsound")
        if entries:
            yield here, entries

    def _numbered(self, group: int) -> int:
        """Return a group's number in the whole tree; 0 stays what it is."""
        if group:
            group += self._groups_before
            self.groups = max(self.groups, group)
        return group

    @property
    def _what(self) -> str:
        return f"catalog of {printable(self._catalog.mountpoint)}"
