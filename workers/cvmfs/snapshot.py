"""One revision of a repository, read as a file system.

A snapshot never changes: everything is reached from the hash of its root catalog, and
every byte is proven by the hash that names it. Catalogs are loaded as paths need them,
and nested ones are crossed without the caller noticing.

Paths are absolute from the root of the repository, which is ``b""``.
"""

import posixpath
import stat
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from workers.cvmfs.catalog.reader import Catalog, NestedCatalog, load_catalog
from workers.cvmfs.catalog.rows import Row
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import Damaged, Malformed, NotFound
from workers.cvmfs.objects.objects import BLOCK_BYTES, open_content, read_content
from workers.cvmfs.storage.storage import ObjectSource
from workers.cvmfs.values.dirent import Content, Dirent
from workers.cvmfs.values.hash import ContentHash
from workers.cvmfs.values.paths import check_path, joined_names, parents, printable
from workers.cvmfs.values.trees import Directory, Tree

_OPEN_CATALOGS = 24
"""Catalogs kept open: enough for the path to an image and its neighbours."""
_OPEN_BYTES = 64 << 20
"""Fewer are kept when they are larger than this together: one of a large image takes
some ten megabytes."""
_FEWEST_OPEN = 8
"""But not fewer than lead to a directory, each of which the next look-up needs."""
_MAX_SYMLINKS = 40
"""As many as Linux follows in one look-up (path_resolution(7))."""


class Snapshot:
    """A reader of one revision. Not to be shared between threads.

    Args:
        source: the storage, or whatever else hands out its files.
        root_hash: of the root catalog.
        root_size: of its database in bytes; 0 if not known.
    """

    def __init__(
        self, source: ObjectSource, root_hash: ContentHash, root_size: int = 0
    ) -> None:
        self._source = source
        self._root = NestedCatalog(b"", root_hash, root_size)
        self._catalogs: OrderedDict[NestedCatalog, Catalog] = OrderedDict()
        self._open_bytes = 0

    @property
    def root_hash(self) -> ContentHash:
        """The hash of the root catalog."""
        return self._root.hash

    @property
    def revision(self) -> int:
        """The number of the revision, as its root catalog says."""
        return self.root_catalog.revision

    @property
    def root_catalog(self) -> Catalog:
        """The root catalog itself."""
        return self.catalog(self._root)

    def catalog(self, reference: NestedCatalog) -> Catalog:
        """Load one catalog by what names it, usually from ``Catalog.nested``.

        It is kept for a while, until others have been used since.

        Raises:
            NotFound: its object is not in the storage.
            Damaged: its object is not what hash and size say.
            Malformed: it is not a catalog of that mountpoint.
        """
        catalog = self._catalogs.get(reference)
        if catalog is None:
            catalog = load_catalog(self._source, reference)
            self._catalogs[reference] = catalog
            self._open_bytes += catalog.size
            while len(self._catalogs) > (
                _OPEN_CATALOGS if self._open_bytes <= _OPEN_BYTES else _FEWEST_OPEN
            ):
                _, oldest = self._catalogs.popitem(last=False)
                self._open_bytes -= oldest.size
        else:
            self._catalogs.move_to_end(reference)
        return catalog

    def catalogs(self) -> Iterator[NestedCatalog]:
        """Yield what names each catalog of the snapshot, outer ones first."""
        pending = [self._root]
        while pending:
            reference = pending.pop()
            yield reference
            pending += reversed(self.catalog(reference).nested())

    def lookup(self, path: bytes) -> Dirent | None:
        """Return the entry at ``path``; symlinks on the way are not followed."""
        check_path(path)
        catalog = self._catalog_with_row(path)
        row = catalog.row(path)
        return None if row is None else _dirent(catalog, row)

    def listdir(self, path: bytes) -> Directory:
        """Return the entries of a directory by name, sorted.

        Raises:
            NotFound: there is no directory at ``path``.
        """
        return {
            row.name: _dirent(catalog, row) for catalog, row in self._children(path)
        }

    def walk(self, path: bytes = b"") -> Iterator[tuple[bytes, Dirent]]:
        """Yield all there is at and below ``path``, each directory before its entries.

        Entries of a directory come sorted by name.

        Raises:
            NotFound: there is nothing at ``path``.
        """
        top = self.lookup(path)
        if top is None:
            raise NotFound(f"nothing at {printable(path)} in the repository")
        pending = [(path, top)]
        while pending:
            here, dirent = pending.pop()
            yield here, dirent
            if stat.S_ISDIR(dirent.mode):
                entries = self.listdir(here).items()
                pending += reversed([(here + b"/" + n, entry) for n, entry in entries])

    def resolve(self, path: bytes) -> bytes:
        """Return the path that remains when all symlinks in ``path`` are followed.

        Raises:
            NotFound: something on the way is not there, or a link leads out of the
                repository, or in circles.
        """
        check_path(path)
        followed = 0
        done = b""
        pending = path.split(b"/")[:0:-1]
        while pending:
            name = pending.pop()
            if name == b"..":
                if not done:
                    raise NotFound(f"{printable(path)} leads out of the repository")
                done = posixpath.dirname(done).rstrip(b"/")
                continue
            here = done + b"/" + name
            dirent = self.lookup(here)
            if dirent is None:
                raise NotFound(f"nothing at {printable(here)} in the repository")
            if not stat.S_ISLNK(dirent.mode):
                done = here
                continue
            followed += 1
            if followed > _MAX_SYMLINKS:
                raise NotFound(f"{printable(path)} leads in circles")
            if dirent.target.startswith(b"/"):
                raise NotFound(f"{printable(here)} leads out of the repository")
            steps = dirent.target.split(b"/")
            pending += [step for step in reversed(steps) if step not in (b"", b".")]
        return done

    def open(self, dirent: Dirent) -> BinaryIO:
        """Open the content of a regular file, verified while it is read.

        The stream raises ``Damaged`` at its end at the latest if the content is not
        what the catalog says. The caller closes it.

        Raises:
            NotFound: not a regular file.
        """
        return open_content(self._source, _content(dirent))

    def read(self, dirent: Dirent) -> bytes:
        """Return the content of a regular file, verified.

        Raises:
            NotFound: not a regular file, or its object is missing.
            Damaged: the content is not what the catalog says.
        """
        return read_content(self._source, _content(dirent))

    def pieces(self, dirent: Dirent) -> Iterator[bytes]:
        """Yield the content of a regular file of any size; see ``open``."""
        with self.open(dirent) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block

    def tree(self, path: bytes) -> Tree:
        """Read the whole tree at ``path``, a mountpoint, at once.

        What ``Repository.prepare`` was given comes back: markers of nested catalogs
        are left out, catalogs nested below are included. Much faster than ``walk``.

        Raises:
            NotFound: there is no directory at ``path``.
            Malformed: catalogs contradict themselves.
        """
        catalog = self._catalog_with_entries(path)
        if catalog.mountpoint != path:
            raise NotFound(f"{printable(path)} is not the root of a nested catalog")
        # Those below are read once, so they are not kept.
        return read_tree(catalog, partial(load_catalog, self._source))

    def _children(self, path: bytes) -> list[tuple[Catalog, Row]]:
        catalog = self._catalog_with_entries(path)
        rows = [row for row in catalog.children(path) if not row.is_hidden]
        if joined_names([row.name for row in rows]) is None:
            raise Malformed(f"{printable(path)} has an entry whose name is none")
        rows.sort(key=lambda row: row.name)
        return [(catalog, row) for row in rows]

    def _catalog_with_entries(self, path: bytes) -> Catalog:
        """Return the catalog that holds the entries of a directory."""
        check_path(path)
        catalog = self._catalog_with_row(path)
        row = catalog.row(path)
        if row is None or not row.is_directory:
            raise NotFound(f"no directory at {printable(path)} in the repository")
        if row.is_mountpoint:
            nested = catalog.nested_at(path)
            if nested is None:
                raise Malformed(f"mountpoint {printable(path)} names no catalog")
            catalog = self.catalog(nested)
        return catalog

    def _catalog_with_row(self, path: bytes) -> Catalog:
        """Return the catalog whose row for ``path`` its parent directory shows."""
        catalog = self.root_catalog
        for parent in parents(path):
            nested = catalog.nested_at(parent)
            if nested is not None:
                catalog = self.catalog(nested)
        return catalog


def _dirent(catalog: Catalog, row: Row) -> Dirent:
    return row.dirent(catalog.chunks(row.key) if row.is_chunked else ())


def _content(dirent: Dirent) -> Content:
    if dirent.content is None:
        raise NotFound(f"an entry of mode {dirent.mode:o} has no content")
    if dirent.content.hash is None and not dirent.content.chunks:
        raise Damaged("a chunked file without chunks, or one kept elsewhere")
    return dirent.content
