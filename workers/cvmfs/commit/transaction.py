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

import functools
import itertools
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from workers.cvmfs.catalog.editor import CatalogEditor
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import (
    Catalog,
    NestedCatalog,
    fetch_catalog,
    load_catalog,
)
from workers.cvmfs.catalog.rows import Row
from workers.cvmfs.catalog.schema import DEFAULT_TTL_SECONDS
from workers.cvmfs.commit.changes import (
    Change,
    EditRecords,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    RequirePath,
    check_target,
)
from workers.cvmfs.commit.record_lists import RecordLists
from workers.cvmfs.errors import (
    ContentCollected,
    FormatError,
    InvalidChange,
    Malformed,
    NotFound,
)
from workers.cvmfs.objects.objects import DEFAULT_LEVEL, put_object
from workers.cvmfs.storage.storage import Storage, reads_at_once
from workers.cvmfs.values.dirent import Dirent
from workers.cvmfs.values.hash import NO_HASH, Kind
from workers.cvmfs.values.paths import is_below, parent, parents, printable
from workers.cvmfs.values.trees import Tree

_MANY = 8
"""From so many catalogs on threads cost less than they save."""
_THREADS = 4
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
        # Which catalog has the entries of a directory that is there.
        self._homes = {b"": self._editors[b""]}
        self._lists = RecordLists(storage, self._look_up, level)

    @property
    def is_changed(self) -> bool:
        """Whether any change so far made a difference."""
        return self._lists.is_changed or any(
            editor.is_changed for editor in self._editors.values()
        )

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

    def open_ahead(self, changes: Sequence[Change]) -> None:
        """Open the catalogs and lists that some changes lead to, many at once.

        One after the other they are opened anyway when the changes are made, and what
        is wrong with one of them is told to who needs it; but in a bucket each is a
        round trip.
        """
        self._open_catalogs(change.path for change in changes)
        if reads_at_once(self._storage) > 1:
            self._lists.open_ahead(
                change for change in changes if isinstance(change, EditRecords)
            )

    def _open_catalogs(self, paths: Iterable[bytes]) -> None:
        above = {directory for path in paths for directory in parents(path)}
        for _, directories in itertools.groupby(sorted(above, key=_depth), _depth):
            wanted = list(filter(None, map(self._unopened, directories)))
            threads = reads_at_once(self._storage)
            if len(wanted) >= _MANY:
                threads = max(threads, _THREADS)
            if len(wanted) > 1 and threads > 1:
                with ThreadPoolExecutor(threads) as pool:
                    fetch = functools.partial(fetch_catalog, self._storage)
                    fetched = [pool.submit(fetch, nested) for nested in wanted]
                for nested, data in zip(wanted, fetched, strict=True):
                    with suppress(FormatError):
                        self._open(nested, data.result())

    def _unopened(self, directory: bytes) -> NestedCatalog | None:
        """Return the catalog of a directory, if it has one that is not open yet."""
        if directory in self._editors:
            return None
        with suppress(FormatError):
            outer = self._home(parent(directory))
            row = outer.row(directory)
            if row is not None and row.is_mountpoint:
                return outer.nested_at(directory)
        return None

    def apply(self, change: Change) -> None:
        """Make one change.

        Raises:
            InvalidChange: it cannot be made at its path.
            NotFound: the catalog of a prepared tree is not in the storage.
            ContentCollected: what is required is not there any more.
        """
        check_target(change.path)
        if isinstance(change, RequirePath):
            if self._holder(change.path).row(change.path) is None:
                raise ContentCollected(
                    f"{printable(change.path)} is not there any more"
                )
            return
        if isinstance(change, EditRecords):
            self._lists.edit(change)
            return
        self._write_lists(change.path)
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
        self._write_lists(b"")
        # By depth, so that every catalog comes after all that are inside it.
        by_depth = sorted(filter(None, self._editors), key=_depth, reverse=True)
        for _, paths in itertools.groupby(by_depth, _depth):
            editors = [self._editors[path] for path in paths]
            changed = [editor for editor in editors if editor.is_changed]
            for written in self._written(changed):
                editor = self._editors[written.path]
                difference = editor.total.minus(editor.counted)
                self._holder(written.path).remount(written, difference)
        root = self._editors[b""].finish(self._now, **root_properties)
        return self._stored(b"", root)

    def _written(self, editors: Sequence[CatalogEditor]) -> Iterator[NestedCatalog]:
        """Write catalogs of which none is inside another."""
        if len(editors) < _MANY:
            for editor in editors:
                yield self._stored(editor.mountpoint, editor.finish(self._now))
            return
        # To compress and to store needs no interpreter; meanwhile the next is finished.
        with ThreadPoolExecutor(_THREADS) as pool:
            stored = [
                pool.submit(self._stored, editor.mountpoint, editor.finish(self._now))
                for editor in editors
            ]
            for future in stored:
                yield future.result()

    def _stored(self, mountpoint: bytes, data: bytes) -> NestedCatalog:
        content_hash, _ = put_object(self._storage, data, Kind.CATALOG, self._level)
        return NestedCatalog(mountpoint, content_hash, len(data))

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

    def _look_up(self, path: bytes) -> Dirent | None:
        holder = self._holder(path)
        row = holder.row(path)
        return None if row is None else holder.dirent(row)

    def _write_lists(self, above: bytes) -> None:
        """Make the changes to the lists of records at a path and below it."""
        for path, content in self._lists.stored(above):
            file = Dirent(stat.S_IFREG | 0o644, content=content)
            self._put(PutFile(path, content), file)

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
        home = self._homes.get(path)
        if home is not None:
            return home
        holder = self._make_directory(parent(path))
        row = holder.row(path)
        if row is None:
            home = self._new_directory(holder, path)
        elif row.is_directory:
            home = self._inner(holder, path) if row.is_mountpoint else holder
        else:
            raise InvalidChange(f"{printable(path)} is not a directory")
        self._homes[path] = home
        return home

    def _new_directory(self, holder: CatalogEditor, path: bytes) -> CatalogEditor:
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
        holder.touch(path, links)
        if path:
            row = holder.row(path)
            if row is not None and row.is_mountpoint:
                self._inner(holder, path).touch(path, links)

    def _remove(self, holder: CatalogEditor, path: bytes, row: Row) -> None:
        """Remove a row and all below it; the parent is not touched."""
        if row.is_directory:
            for home in [home for home in self._homes if is_below(home, path)]:
                del self._homes[home]
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
        return self._home(parent(path)) if path else self._editors[b""]

    def _home(self, directory: bytes) -> CatalogEditor:
        """Return the catalog that has, or would have, the entries of a directory."""
        home = self._homes.get(directory)
        if home is None:
            outer = self._home(parent(directory))
            row = outer.row(directory)
            if row is None or not row.is_directory:
                return outer
            home = self._inner(outer, directory) if row.is_mountpoint else outer
            self._homes[directory] = home
        return home

    def _inner(self, holder: CatalogEditor, path: bytes) -> CatalogEditor:
        """Return the catalog mounted at a path, opened if it was not yet."""
        editor = self._editors.get(path)
        if editor is None:
            nested = _nested(holder, path)
            editor = self._open(nested, fetch_catalog(self._storage, nested))
        return editor

    def _open(self, nested: NestedCatalog, data: bytes) -> CatalogEditor:
        editor = CatalogEditor(Catalog(data, nested.path), nested.hash)
        self._editors[nested.path] = editor
        return editor


def _depth(path: bytes) -> int:
    return path.count(b"/")


def _nested(holder: CatalogEditor, path: bytes) -> NestedCatalog:
    nested = holder.nested_at(path)
    if nested is None:
        raise Malformed(f"mountpoint {printable(path)} names no catalog")
    return nested
