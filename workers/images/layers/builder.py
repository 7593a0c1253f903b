"""The members of one layer, applied in order to an empty tree.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md ("Applying
Changesets"); where it is silent, what umoci and containerd do.
"""

import stat

from workers.cvmfs import Content, Dirent, Tree
from workers.images.layers.budget import Budget, check_directory
from workers.images.layers.dirents import dirent_of
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.names import (
    AUFS,
    OPAQUE,
    WHITEOUT,
    hidden_name,
    join,
    split_name,
)
from workers.images.layers.paths_in_tree import IMPLIED, Paths
from workers.images.layers.steps import Steps
from workers.images.rejected import ImageRejected, printable
from workers.images.tar.reader import DIRECTORY, HARD_LINK, Member

# What a directory costs in memory besides its path; a link into a lower layer; each
# piece of a large file, once more for every name that the file has.
_DIRECTORY_BYTES = 256
_LINK_BYTES = 256
_PIECE_BYTES = 64


class LayerBuilder:
    """Grows a ``LayerTree`` by one member at a time.

    Args:
        budget: what is left of the image's limits.
        steps: counts what finding paths costs.
    """

    def __init__(self, budget: Budget, steps: Steps) -> None:
        self._layer = LayerTree(Tree(IMPLIED))
        self._tree = self._layer.tree
        self._steps = steps
        self._paths = Paths(self._tree, steps)
        self._budget = budget
        self._groups = 0
        self._aufs: list[tuple[bytes, bytes]] = []

    def save_memory(self, entries: int) -> None:
        """Keep only so many entries unpacked from now on; see ``Directories``."""
        self._tree.directories.keep_loose(entries)

    def expect(self, members: int) -> None:
        """Let so many more members be added, and each of them take some steps."""
        self._steps.allow(members)

    def add(
        self, parent: bytes, name: bytes, member: Member, content: Content | None
    ) -> None:
        """Apply one member.

        Args:
            parent: with ``name``, what ``split_name`` makes of its name.
            name: see there.
            member: as read.
            content: of a regular file that is no whiteout.

        Raises:
            ImageRejected: no file system could take it.
        """
        if not name:
            self._set_root(member)
            return
        if name.startswith(WHITEOUT):
            self._white_out(parent, name)
            return
        directory = self._directory(parent)
        if member.kind == DIRECTORY:
            self._add_directory(directory, name, dirent_of(member))
        elif member.kind == HARD_LINK:
            self._link(directory, name, member.link)
        else:
            if content is not None and content.chunks:
                self._budget.spend_metadata(len(content.chunks) * _PIECE_BYTES)
            self._put(directory, name, dirent_of(member, content))

    def finish(self) -> LayerTree:
        """Return what has come of it; nothing may be added any more."""
        # Only now, because hard links may have pointed into AUFS's directories.
        for directory, name in self._aufs:
            if directory in self._tree.directories:
                self._take_away(directory, name)
        layer = self._layer
        opaque = {p for p in layer.opaque if not self._is_idle(p)}
        layer.whiteouts = {
            p: names
            for p, names in layer.whiteouts.items()
            if not self._hides_all(p) and not self._is_idle(p)
        }
        layer.opaque = opaque
        return layer

    def _set_root(self, member: Member) -> None:
        if member.kind != DIRECTORY:
            raise ImageRejected("a layer makes its root something else")
        self._tree.root = dirent_of(member)
        self._layer.implied.discard(b"")

    def _directory(self, path: bytes) -> bytes:
        """Return where ``path`` really is, symlinks followed, made if missing."""
        return path if path in self._tree.directories else self._make_directories(path)

    def _make_directories(self, path: bytes) -> bytes:
        real = self._paths.follow(path)
        for place, name in self._paths.missing_directories(real):
            made = join(place, name)
            if not self._make_directory(place, name, made, IMPLIED):
                self._layer.implied.add(made)
            if name.startswith(AUFS):
                self._aufs.append((place, name))
        return real

    def _make_directory(
        self, place: bytes, name: bytes, path: bytes, dirent: Dirent
    ) -> bool:
        """Make a directory; return whether it replaces something of the layer.

        That something has itself replaced all that lies below it in lower layers.
        """
        self._budget.spend_metadata(len(path) + _DIRECTORY_BYTES)
        replaced = self._take_away(place, name)
        if replaced:
            self._layer.opaque.add(path)
        self._paths.put(place, name, dirent)
        self._tree.directories[path] = {}
        return replaced

    def _add_directory(self, directory: bytes, name: bytes, dirent: Dirent) -> None:
        path = join(directory, name)
        if path in self._tree.directories:
            self._tree.directories.put(directory, name, dirent)
            self._layer.implied.discard(path)
        else:
            self._make_directory(directory, name, path, dirent)

    def _white_out(self, parent: bytes, name: bytes) -> None:
        """Note what is deleted below; no directory is made for it."""
        if name.startswith(AUFS) and name != OPAQUE:
            return
        hidden = None if name == OPAQUE else hidden_name(name)
        directory = self._paths.follow(parent)
        if self._is_covered(directory):
            return
        self._budget.spend_metadata(len(directory) + _DIRECTORY_BYTES)
        if hidden is None:
            self._layer.opaque.add(directory)
        else:
            names = self._layer.whiteouts.setdefault(directory, set())
            names.add(hidden)
            check_directory(directory, len(names))

    def _is_idle(self, path: bytes) -> bool:
        """Whether there is nothing in directory ``path`` that could be deleted.

        An overlay would show such a deletion: it hides whiteouts only in directories
        that it merges, and those that are in an opaque one it does not.
        """
        return self._is_covered(path) or self._is_deleted(path)

    def _is_deleted(self, path: bytes) -> bool:
        """Whether the layer deletes all that is in ``path``, wherever it says so."""
        while path:
            self._steps.take(1)
            parent, _, name = path.rpartition(b"/")
            if name in self._layer.whiteouts.get(parent, ()) or self._hides_all(parent):
                return True
            path = parent
        return False

    def _hides_all(self, path: bytes) -> bool:
        """Whether a directory is opaque also to an overlay, as its root never is."""
        return path != b"" and path in self._layer.opaque

    def _is_covered(self, path: bytes) -> bool:
        """Whether the layer has something else where ``path`` needs a directory."""
        while path not in self._tree.directories:
            self._steps.take(1)
            path, _, name = path.rpartition(b"/")
            if self._tree.directories.find(path, name) is not None:
                return True
            if name in self._layer.links.get(path, ()):
                return True
        return False

    def _link(self, directory: bytes, name: bytes, link: bytes) -> None:
        """Make a hard link. Its target's metadata counts, whatever the member says.

        The target is named as members are, and begins at the root of the layer.
        """
        path, target = self._paths.find(join(*split_name(link)))
        if target is None or path in self._layer.implied:
            # A directory that is only passed through may be a symlink below.
            place, _, last = path.rpartition(b"/")
            lower = self._layer.links.get(place, {}).get(last, path)
            self._budget.spend_metadata(len(lower) + _LINK_BYTES)
            self._take_away(directory, name)
            self._layer.links.setdefault(directory, {})[name] = lower
            return
        if stat.S_ISDIR(target.mode):
            raise ImageRejected(
                f"a layer has a hard link to a directory: {printable(link)}"
            )
        if target.content is not None and target.content.chunks:
            self._budget.spend_metadata(len(target.content.chunks) * _PIECE_BYTES)
        if not target.link_group:
            self._groups += 1
            target = target._replace(link_group=self._groups)
            place, _, last = path.rpartition(b"/")
            self._paths.put(place, last, target)
        self._put(directory, name, target)

    def _put(self, directory: bytes, name: bytes, dirent: Dirent) -> None:
        if (
            self._layer.links
            or self._tree.directories.find(directory, name) is not None
        ):
            self._take_away(directory, name)
        self._paths.put(directory, name, dirent)

    def _take_away(self, directory: bytes, name: bytes) -> bool:
        """Remove what the layer has there so far; return whether there was anything."""
        layer = self._layer
        links = layer.links.get(directory)
        was_link = links is not None and links.pop(name, None) is not None
        if self._tree.directories.find(directory, name) is None:
            return was_link
        removed = self._paths.remove(directory, name)
        layer.implied -= removed
        layer.opaque -= removed
        for path in removed:
            layer.whiteouts.pop(path, None)
            layer.links.pop(path, None)
        return True
