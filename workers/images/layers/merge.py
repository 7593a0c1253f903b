"""Layers on top of each other: one root file system, put together as metadata.

No byte of any file is touched, and most directories of an image are in one layer only:
the work is by entry, and it is little.

A layer's whiteouts and opaque directories speak of the layers below it alone, wherever
in its tar they stand; so they come first. A directory that a layer only passes through
leaves what is below as it is, and may be a symlink there.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md ("Applying
Changesets"); where it is silent, what umoci and containerd do.
"""

import stat
from collections.abc import Sequence

from workers.cvmfs import Dirent, Tree
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.names import join
from workers.images.layers.paths_in_tree import IMPLIED, Paths
from workers.images.layers.steps import Steps
from workers.images.rejected import ImageRejected, printable


def merge(layers: Sequence[LayerTree], steps: Steps | None = None) -> Tree:
    """Return the root file system of an image, its layers given lowest first.

    The layers stay as they are.

    Args:
        layers: of the image.
        steps: counts entries, and what finding paths costs; it is asked whether to go
            on.

    Raises:
        ImageRejected: a hard link has no target in any layer below, or finding where
            layers meet takes too many steps.
    """
    merger = Merger(steps)
    for layer in layers:
        merger.put(layer)
    return merger.tree


class Merger:
    """A root file system that grows by one layer at a time.

    Args:
        steps: see ``merge``.

    Attributes:
        tree: of the layers so far.
    """

    def __init__(self, steps: Steps | None = None) -> None:
        self.tree = Tree(IMPLIED)
        self._steps = steps or Steps()
        self._paths = Paths(self.tree, self._steps)
        self._groups = 0  # highest number of a hard link group so far

    def put(self, layer: LayerTree) -> None:
        """Put one layer on top, which stays as it is; see ``merge``."""
        self._steps.allow(layer.entries + len(layer.tree.directories))
        merging = _Merging(self.tree, layer, self._groups, self._paths, self._steps)
        merging.apply()
        self._groups = merging.groups


class _Merging:
    """Puts one layer on a tree.

    Directories wait on a list and not on the stack: a hostile layer can nest two
    thousand of them.
    """

    def __init__(
        self, tree: Tree, layer: LayerTree, groups: int, paths: Paths, steps: Steps
    ) -> None:
        self.groups = groups
        self._tree = tree
        self._paths = paths
        self._steps = steps
        self._layer = layer
        self._renumbered: dict[int, int] = {}
        # Directories of the layer, each with its place in the tree.
        self._waiting: list[tuple[bytes, bytes]] = []

    def apply(self) -> None:
        """Do it."""
        # What links point to may be hidden by the same layer, or replaced.
        links = [
            (directory, name, self._lower_target(target))
            for directory, names in self._layer.links.items()
            for name, target in names.items()
        ]
        for path in sorted(self._layer.opaque | self._layer.whiteouts.keys()):
            self._hide(path)
        if b"" not in self._layer.implied:
            self._tree.root = self._layer.tree.root
        self._waiting = [(b"", b"")]
        while self._waiting:
            source, place = self._waiting.pop()
            if place not in self._tree.directories:
                place = self._paths.make_directories(place)
            if self._tree.directories.is_empty(place):
                self._take_over(source, place)
            else:
                self._overlay(source, place)
        for directory, name, dirent in links:
            place = self._paths.make_directories(directory)
            self._paths.remove(place, name)
            self._paths.put(place, name, dirent)

    def _lower_target(self, path: bytes) -> Dirent:
        """Return what a hard link of this layer points to in those below."""
        real, dirent = self._paths.find(path)
        if dirent is None or stat.S_ISDIR(dirent.mode):
            raise ImageRejected(
                f"a layer has a hard link to {printable(path)}, which is not a file"
            )
        if dirent.content is not None:
            # Each name of a large file lists all its pieces in the catalogs.
            self._steps.take(len(dirent.content.chunks))
        if not dirent.link_group:
            self.groups += 1
            dirent = dirent._replace(link_group=self.groups)
            directory, _, name = real.rpartition(b"/")
            self._paths.put(directory, name, dirent)
        return dirent

    def _hide(self, source: bytes) -> None:
        """Delete what the layer hides in one directory."""
        place = self._lower_place(source)
        if place is None:
            return
        directories = self._tree.directories
        if source in self._layer.opaque:
            names = set(directories[place])
        else:
            # Asked one by one: many directories of the layer may lead to a large one.
            hidden = self._layer.whiteouts[source]
            names = {n for n in hidden if directories.find(place, n) is not None}
        for name in names:
            self._paths.remove(place, name)

    def _lower_place(self, path: bytes) -> bytes | None:
        """Return where a directory of the layer will lie, if it is there already.

        Where the layer names a directory it replaces a symlink; where it does not, it
        goes through it.
        """
        layer = self._layer
        source, place = b"", b""
        for part in path.split(b"/") if path else ():
            self._steps.take(1)
            source, below = join(source, part), join(place, part)
            if below in self._tree.directories:
                found: bytes | None = below
            elif source in layer.tree.directories and source not in layer.implied:
                found = None
            else:
                found = self._paths.find_directory(part, place)
            if found is None:
                return None
            place = found
        return place

    def _overlay(self, source: bytes, place: bytes) -> None:
        """Put a directory of the layer on one that has entries already."""
        layer, directories = self._layer, self._tree.directories
        entries = layer.tree.directories[source]
        self._steps.take(len(entries))
        for name, dirent in entries.items():
            path, below = join(source, name), join(place, name)
            if not stat.S_ISDIR(dirent.mode):
                if below in directories:
                    self._paths.remove(place, name)
                self._paths.put(place, name, self._numbered(dirent))
            elif path not in layer.implied:
                if below not in directories:
                    directories[below] = {}
                self._paths.put(place, name, dirent)
                self._waiting.append((path, below))
            else:
                place_of = self._paths.make_directories(name, place)
                self._waiting.append((path, place_of))

    def _take_over(self, source: bytes, place: bytes) -> None:
        """Put a directory of the layer on an empty one; most of an image is that."""
        layer, directories = self._layer, self._tree.directories
        self._paths.share(place, layer.tree.directories, source)
        entries = layer.tree.directories[source]
        self._steps.take(len(entries))
        for name, dirent in entries.items():
            if stat.S_ISDIR(dirent.mode):
                below = join(place, name)
                directories[below] = {}
                self._waiting.append((join(source, name), below))
            elif dirent.link_group:
                self._paths.put(place, name, self._numbered(dirent))

    def _numbered(self, dirent: Dirent) -> Dirent:
        """Return the entry with a hard link group that no other layer uses."""
        if not dirent.link_group:
            return dirent
        group = self._renumbered.get(dirent.link_group)
        if group is None:
            self.groups += 1
            group = self._renumbered[dirent.link_group] = self.groups
        return dirent._replace(link_group=group)
