"""Layers on top of each other: one root file system, put together as metadata.

No byte of any file is touched. Where an upper layer adds a directory that lies on
nothing, its dictionaries are taken over whole, so the work is by directory there and
by entry only where layers really overlap.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md ("Applying
Changesets"); where it is silent, what umoci and containerd do.
"""

import stat
from collections.abc import Sequence

from workers.cvmfs import Dirent, Tree
from workers.images.layer import (
    IMPLIED,
    ImageRejected,
    LayerTree,
    find_directory,
    join,
    printable,
    remove,
    resolve_directory,
)


def merge(layers: Sequence[LayerTree]) -> Tree:
    """Return the root file system of an image, its layers given lowest first.

    The layers stay as they are.

    Raises:
        ImageRejected: a hard link has no target in any layer below.
    """
    merged = _Merge()
    for layer in layers:
        merged.apply(layer)
    return merged.tree


class _Merge:
    """A tree that grows by one layer at a time.

    Directories wait on a list and not on the stack: a hostile layer can nest two
    thousand of them.
    """

    def __init__(self) -> None:
        self.tree = Tree(IMPLIED)
        self._groups = 0  # highest hard link group so far
        self._layer: LayerTree
        self._leading: set[bytes]
        self._renumber: dict[int, int]
        self._waiting: list[tuple[bytes, bytes]]

    def apply(self, layer: LayerTree) -> None:
        """Put one layer on top."""
        self._layer = layer
        self._leading = _leading(layer)
        self._renumber = {}
        links = [self._lower_link(link.target) for link in layer.links]
        if b"" not in layer.implied:
            self.tree.root = layer.tree.root
        self._waiting = [(b"", b"")]
        while self._waiting:
            source, place = self._waiting.pop()
            self._hide(source, place)
            if self.tree.directories[place]:
                self._overlay(source, place)
            else:
                self._take_over(source, place)
        for link, dirent in zip(layer.links, links, strict=True):
            directory = resolve_directory(self.tree, link.directory, set())
            remove(self.tree, directory, link.name)
            self.tree.directories[directory][link.name] = dirent

    def _lower_link(self, target: bytes) -> Dirent:
        """Return what a hard link of this layer points to in those below."""
        parent, _, name = target.rpartition(b"/")
        real = find_directory(self.tree, parent)
        dirent = None if real is None else self.tree.directories[real].get(name)
        if real is None or dirent is None or stat.S_ISDIR(dirent.mode):
            raise ImageRejected(
                f"a layer has a hard link to {printable(target)}, which is not a file"
            )
        if not dirent.link_group:
            self._groups += 1
            dirent = dirent._replace(link_group=self._groups)
            self.tree.directories[real][name] = dirent
        return dirent

    def _hide(self, source: bytes, place: bytes) -> None:
        """Delete from ``place`` what the layer's whiteouts say."""
        entries = self.tree.directories[place]
        if source in self._layer.opaque:
            for name in list(entries):
                remove(self.tree, place, name)
        for name in self._layer.whiteouts.get(source, ()):
            if name in entries:
                remove(self.tree, place, name)

    def _overlay(self, source: bytes, place: bytes) -> None:
        """Put a directory of the layer on one that has entries already."""
        layer, directories = self._layer, self.tree.directories
        entries = directories[place]
        for name, dirent in layer.tree.directories[source].items():
            path, below = join(source, name), join(place, name)
            if not stat.S_ISDIR(dirent.mode):
                if below in directories:
                    remove(self.tree, place, name)
                entries[name] = self._numbered(dirent)
            elif path in layer.implied:
                self._pass_through(path, below)
            else:
                directories.setdefault(below, {})
                entries[name] = dirent
                self._waiting.append((path, below))

    def _take_over(self, source: bytes, place: bytes) -> None:
        """Put a directory of the layer on an empty one; most of an image is that."""
        layer, directories = self._layer, self.tree.directories
        entries = directories[place]
        for name, dirent in layer.tree.directories[source].items():
            if stat.S_ISDIR(dirent.mode):
                path = join(source, name)
                if path in layer.implied and path not in self._leading:
                    continue
                entries[name] = dirent
                below = join(place, name)
                directories[below] = {}
                self._waiting.append((path, below))
            elif dirent.link_group:
                entries[name] = self._numbered(dirent)
            else:
                entries[name] = dirent

    def _pass_through(self, path: bytes, below: bytes) -> None:
        """Enter a directory that the layer does not name, symlinks followed."""
        if path not in self._leading and find_directory(self.tree, below) is None:
            return  # only whiteouts, and nothing there to hide
        place = resolve_directory(self.tree, below, set())
        self._waiting.append((path, place))

    def _numbered(self, dirent: Dirent) -> Dirent:
        """Return the entry with a hard link group that no other layer uses."""
        if not dirent.link_group:
            return dirent
        group = self._renumber.get(dirent.link_group)
        if group is None:
            self._groups += 1
            group = self._renumber[dirent.link_group] = self._groups
        return dirent._replace(link_group=group)


def _leading(layer: LayerTree) -> set[bytes]:
    """Return the implied directories with anything but whiteouts in or below them."""
    leading: set[bytes] = set()
    sources = [link.directory for link in layer.links]
    for path, entries in layer.tree.directories.items():
        if path not in layer.implied or any(
            not stat.S_ISDIR(dirent.mode) for dirent in entries.values()
        ):
            sources.append(path)
    for source in sources:
        path = source
        while path and path not in leading:
            leading.add(path)
            path = path.rpartition(b"/")[0]
    return leading
