"""The catalogs of one commit, changed in step with each other.

Rules kept here, all of cvmfs-format.md 3.6 and 7.1:

* A directory that is the root of a nested catalog has a row in the outer catalog too,
  its transition point. Both change together: link count and time (traps 8 and 9).
* What a nested catalog counts is part of the ``subtree`` counters of every catalog
  outside of it. The difference travels outwards when a catalog is written, so catalogs
  are written deepest first, and each names the new hash of those directly in it.
* A catalog that is taken away takes its counters along, and is not read for it beyond
  its own statistics.

Nothing is visible before somebody signs a manifest that names the new root catalog.
"""

import stat
from collections.abc import Callable

from workers.cvmfs.catalog import Catalog, NestedCatalog, load_catalog
from workers.cvmfs.changes import (
    Change,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    check_target,
)
from workers.cvmfs.dirent import Dirent, Tree
from workers.cvmfs.editor import CatalogEditor
from workers.cvmfs.errors import InvalidChange, Malformed, NotFound
from workers.cvmfs.hash import NO_HASH, Kind
from workers.cvmfs.objects import DEFAULT_LEVEL, put_object
from workers.cvmfs.paths import is_below, parent, parents, printable
from workers.cvmfs.prepare import draft_catalog
from workers.cvmfs.rows import Row
from workers.cvmfs.schema import DEFAULT_TTL_SECONDS
from workers.cvmfs.storage import Storage

_DIRECTORY_MODE = stat.S_IFDIR | 0o755

MountpointPolicy = Callable[[bytes], bool]
"""Says of a directory that is about to be made whether it gets a catalog of its own."""


class Transaction:
    """Changes to one revision, not yet published.

    Args:
        storage: where catalogs are read from and written to.
        root: the root catalog to begin with.
        now: the time of the commit, in seconds.
        is_mountpoint: see ``MountpointPolicy``.
        level: of compression.
    """

    def __init__(
        self,
        storage: Storage,
        root: NestedCatalog,
        *,
        now: int,
        is_mountpoint: MountpointPolicy,
        level: int = DEFAULT_LEVEL,
    ) -> None:
        self._storage = storage
        self._now = now
        self._is_mountpoint = is_mountpoint
        self._level = level
        self._editors = {b"": CatalogEditor(load_catalog(storage, root), root.hash)}

    @property
    def is_changed(self) -> bool:
        """Whether any change so far made a difference."""
        return any(editor.is_changed for editor in self._editors.values())

    @property
    def revision(self) -> int:
        """The revision it started from."""
        return self._editors[b""].revision

    @property
    def ttl(self) -> int:
        """The property ``TTL`` of the root catalog, in seconds."""
        text = self._editors[b""].properties.get("TTL", "")
        return int(text) if text.isdecimal() else DEFAULT_TTL_SECONDS

    def close(self) -> None:
        """Free the memory of all catalogs."""
        for editor in self._editors.values():
            editor.close()

    def apply(self, change: Change) -> None:
        """Make one change.

        Raises:
            InvalidChange: it cannot be made at its path.
            NotFound: the catalog of a prepared tree is not in the storage.
        """
        check_target(change.path)
        match change:
            case GraftTree():
                self._graft(change)
            case PutLink():
                mode = stat.S_IFLNK | 0o777
                link = Dirent(
                    mode,
                    change.uid,
                    change.gid,
                    change.mtime or 0,
                    target=change.target,
                )
                self._put(change, link)
            case PutFile():
                mode = stat.S_IFREG | stat.S_IMODE(change.mode)
                file = Dirent(
                    mode,
                    change.uid,
                    change.gid,
                    change.mtime or 0,
                    content=change.content,
                )
                self._put(change, file)
            case RemovePath():
                self._remove_path(change.path)

    def write(self, **root_properties: str) -> NestedCatalog:
        """Store all changed catalogs, and the root catalog in any case.

        Args:
            root_properties: further properties of the root catalog.

        Returns:
            The new root catalog.
        """
        # Sorted by depth, so that every catalog comes after all that are inside it.
        for path in sorted(self._editors, key=lambda path: -path.count(b"/")):
            editor = self._editors[path]
            if path and editor.is_changed:
                written = self._write(editor)
                difference = editor.total.minus(editor.counted)
                self._holder(path).remount(written, difference)
        return self._write(self._editors[b""], **root_properties)

    def _write(self, editor: CatalogEditor, **more: str) -> NestedCatalog:
        data = editor.finish(self._now, **more)
        content_hash, _ = put_object(self._storage, data, Kind.CATALOG, self._level)
        return NestedCatalog(editor.mountpoint, content_hash, len(data))

    def _graft(self, change: GraftTree) -> None:
        path, prepared = change.path, change.prepared
        if prepared.path != path:
            raise InvalidChange(
                f"a tree prepared for {printable(prepared.path)} cannot be mounted at"
                f" {printable(path)}"
            )
        if not self._storage.exists(prepared.hash.path(Kind.CATALOG)):
            raise NotFound(f"the catalog prepared for {printable(path)} is gone")
        nested = NestedCatalog(path, prepared.hash, prepared.size)
        holder = self._holder(path)
        row = holder.row(path)
        if (
            row is not None
            and row.is_mountpoint
            and path not in self._editors
            and holder.nested_at(path) == nested
        ):
            return
        holder = self._make_room(path, links=1)
        holder.insert_mountpoint(path, prepared.root, prepared.link_count)
        holder.mount(nested, prepared.counters)

    def _put(self, change: PutLink | PutFile, wanted: Dirent) -> None:
        holder = self._holder(change.path)
        row = holder.row(change.path)
        if row is not None:
            existing = holder.dirent(row)
            if change.mtime is None:
                existing = existing._replace(mtime=0, mtime_ns=0)
            if existing == wanted:
                return
        if change.mtime is None:
            wanted = wanted._replace(mtime=self._now)
        self._make_room(change.path, links=0).insert(change.path, wanted)

    def _remove_path(self, path: bytes) -> None:
        holder = self._holder(path)
        row = holder.row(path)
        if row is not None:
            self._remove(holder, path, row)
            self._touch(parent(path), -1 if row.is_directory else 0)

    def _make_room(self, path: bytes, *, links: int) -> CatalogEditor:
        """Remove what is at a path, make its parents, and say where the new row goes.

        Args:
            path: where something new is about to be.
            links: 1 if that is a directory, else 0.
        """
        above = parent(path)
        holder = self._make_directory(above)
        row = holder.row(path)
        if row is not None:
            self._remove(holder, path, row)
            links -= 1 if row.is_directory else 0
        self._touch(above, links)
        return holder

    def _make_directory(self, path: bytes) -> CatalogEditor:
        """Make a directory and its parents, if missing; return what has its entries.

        Raises:
            InvalidChange: there is something else on the way.
        """
        if not path:
            return self._editors[b""]
        holder = self._make_directory(parent(path))
        row = holder.row(path)
        if row is not None:
            if not row.is_directory:
                raise InvalidChange(f"{printable(path)} is not a directory")
            return self._inner(holder, path) if row.is_mountpoint else holder
        directory = Dirent(_DIRECTORY_MODE, mtime=self._now)
        self._touch(parent(path), 1)
        if not self._is_mountpoint(path):
            holder.insert(path, directory, 2)
            return holder
        draft = draft_catalog(path, Tree(directory))
        editor = CatalogEditor(Catalog(draft.data, path), None)
        holder.insert_mountpoint(path, directory, draft.link_count)
        holder.mount(NestedCatalog(path, NO_HASH, 0), editor.counted)
        self._editors[path] = editor
        return editor

    def _touch(self, path: bytes, links: int) -> None:
        """Update a directory, in both its rows if it is a transition point."""
        holder = self._holder(path)
        holder.touch(path, links, self._now)
        row = holder.row(path)
        if path and row is not None and row.is_mountpoint:
            self._inner(holder, path).touch(path, links, self._now)

    def _remove(self, holder: CatalogEditor, path: bytes, row: Row) -> None:
        """Remove a row and all below it; the parent is not touched."""
        if row.is_mountpoint:
            self._unmount(holder, path)
        elif row.is_directory:
            for child in holder.children(path):
                self._remove(holder, path + b"/" + child.name, child)
        holder.delete(path, row)

    def _unmount(self, holder: CatalogEditor, path: bytes) -> None:
        if path in self._editors:
            total = self._editors[path].counted
        else:
            catalog = load_catalog(self._storage, _nested(holder, path))
            total = catalog.statistics.total
            catalog.close()
        for inner in [inner for inner in self._editors if is_below(inner, path)]:
            self._editors.pop(inner).close()
        holder.unmount(path, total)

    def _holder(self, path: bytes) -> CatalogEditor:
        """Return the catalog that has, or would have, the row by which a path is seen.

        Of a transition point that is the outer of its two.
        """
        editor = self._editors[b""]
        for above in parents(path):
            if above in self._editors or editor.nested_at(above) is not None:
                editor = self._inner(editor, above)
        return editor

    def _inner(self, holder: CatalogEditor, path: bytes) -> CatalogEditor:
        """Return the catalog mounted at a path, opened if it was not yet."""
        editor = self._editors.get(path)
        if editor is None:
            nested = _nested(holder, path)
            editor = CatalogEditor(load_catalog(self._storage, nested), nested.hash)
            self._editors[path] = editor
        return editor


def _nested(holder: CatalogEditor, path: bytes) -> NestedCatalog:
    nested = holder.nested_at(path)
    if nested is None:
        raise Malformed(f"mountpoint {printable(path)} names no catalog")
    return nested
