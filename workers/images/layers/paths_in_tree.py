"""Where paths really are in a tree: symlinks followed, directories made and removed.

Symlinks are followed as a process would whose root the tree is: absolute ones begin at
the root, ``..`` stops there. What is not in the tree is taken to be a directory.
"""

import stat
from collections.abc import Iterator

from workers.cvmfs import Directories, Dirent, Tree
from workers.images.layers.budget import check_directory
from workers.images.layers.names import LONGEST_PATH, join
from workers.images.layers.steps import Steps
from workers.images.rejected import ImageRejected, printable

# A directory that no layer names.
IMPLIED = Dirent(stat.S_IFDIR | 0o755)

_SYMLINK_HOPS = 40  # Linux, MAXSYMLINKS
# What a tree's symlinks lead to is known again without looking, in so much memory.
_REMEMBERED_BYTES = 1 << 23
_PLACE_BYTES = 256  # of a remembered place, besides its path


class LoopOfSymlinks(ImageRejected):
    """Something of the image lies behind a loop of symlinks."""


class Paths:
    """Finds paths in one tree, and changes the tree so that they are found rightly.

    Where a symlink leads is found once, however many paths go through it, and looked
    for again only after a symlink was changed on its way. So all changes of a tree are
    made here, while this is in use.

    Args:
        tree: all paths are relative to its root.
        steps: counts components that are looked at.
    """

    def __init__(self, tree: Tree, steps: Steps | None = None) -> None:
        self._tree = tree
        self._steps = steps or Steps()
        # Where symlinks lead, by their places, and through how many others.
        self._leads: dict[bytes, tuple[bytes, int]] = {}
        # The places that were looked at for that, and their directories.
        self._seen: set[bytes] = set()
        self._seen_directories: set[bytes] = set()
        self._remembered = 0
        self._times_forgotten = 0

    def follow(self, path: bytes, start: bytes = b"") -> bytes:
        """Return where ``path`` leads to as a directory, whether it is there or not.

        Args:
            path: may have ``..``, and be absolute.
            start: where it begins, a result of this.

        Raises:
            LoopOfSymlinks: it leads through more symlinks than Linux would follow.
            ImageRejected: it leads too deep, or takes too many steps.
        """
        if not start and path in self._tree.directories:
            return path
        return self._walk(start, path, 0, is_remembered=False)[0]

    def find_directory(self, path: bytes, start: bytes = b"") -> bytes | None:
        """Return where the directory ``path`` really is, or ``None`` if it is not."""
        try:
            real = self.follow(path, start)
        except LoopOfSymlinks:
            return None
        return real if real in self._tree.directories else None

    def find(self, path: bytes) -> tuple[bytes, Dirent | None]:
        """Return where ``path`` really lies and what is there.

        Symlinks are followed on the way, not at the end.
        """
        parent, _, name = path.rpartition(b"/")
        directory = self.follow(parent)
        return join(directory, name), self._tree.directories.find(directory, name)

    def missing_directories(self, path: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield place and name of what has to be made so that ``path`` is a directory.

        Args:
            path: a result of ``follow``. The tree may be changed between two of them.
        """
        missing = []
        while path not in self._tree.directories:
            path, _, name = path.rpartition(b"/")
            missing.append((path, name))
        self._steps.take(len(missing))
        yield from reversed(missing)

    def make_directories(self, path: bytes, start: bytes = b"") -> bytes:
        """Return where the directory ``path`` really is; make it if it is missing.

        What stands in the way and is no directory is replaced.
        """
        real = self.follow(path, start)
        for place, name in self.missing_directories(real):
            self.put(place, name, IMPLIED)
            self._tree.directories[join(place, name)] = {}
        return real

    def put(self, directory: bytes, name: bytes, dirent: Dirent) -> None:
        """Put an entry into a directory, in the place of one of the same name.

        Raises:
            ImageRejected: the directory has too many.
        """
        if self._leads:
            self._change(directory, name, is_symlink=stat.S_ISLNK(dirent.mode))
        check_directory(directory, self._tree.directories.put(directory, name, dirent))

    def share(self, path: bytes, source: Directories, source_path: bytes) -> None:
        """Let a directory have the entries of one in another tree; see there."""
        if path in self._seen_directories:
            self._forget()
        self._tree.directories.share(path, source, source_path)

    def remove(self, directory: bytes, name: bytes) -> set[bytes]:
        """Remove an entry and all below it; return the directories that went."""
        if self._leads:
            self._change(directory, name, is_symlink=False)
        removed = remove(self._tree, directory, name)
        if not removed.isdisjoint(self._seen_directories):
            self._forget()
        return removed

    def _walk(
        self, at: bytes, path: bytes, hops: int, *, is_remembered: bool
    ) -> tuple[bytes, int]:
        """Return where a path leads, and through how many symlinks in all.

        Args:
            at: where it begins.
            path: absolute ones begin there, too.
            hops: symlinks so far.
            is_remembered: note which places were looked at.
        """
        directories = self._tree.directories
        parts = path.split(b"/")
        self._steps.take(len(parts))
        for part in parts:
            if part in (b"", b"."):
                continue
            if part == b"..":
                at = at.rpartition(b"/")[0]
                continue
            below = join(at, part)
            if is_remembered:
                self._remember(at, below)
            dirent = directories.find(at, part)
            if dirent is not None and stat.S_ISLNK(dirent.mode):
                at, hops = self._lead(at, below, dirent.target, hops)
            elif len(below) > LONGEST_PATH:
                raise ImageRejected(f"a layer has too deep a path: {printable(below)}")
            else:
                at = below
        return at, hops

    def _lead(
        self, at: bytes, symlink: bytes, target: bytes, hops: int
    ) -> tuple[bytes, int]:
        """Return where a symlink leads, and through how many in all with it."""
        known = self._leads.get(symlink)
        total = hops + (known[1] if known else 1)
        if total > _SYMLINK_HOPS:
            raise LoopOfSymlinks(
                f"a layer has something behind a loop of symlinks: {printable(symlink)}"
            )
        if known:
            return known[0], total
        start = b"" if target.startswith(b"/") else at
        self._remember(at, symlink)
        times_forgotten = self._times_forgotten
        place, total = self._walk(start, target, total, is_remembered=True)
        if times_forgotten == self._times_forgotten:
            self._leads[symlink] = place, total - hops
        return place, total

    def _remember(self, directory: bytes, path: bytes) -> None:
        if path in self._seen:
            return
        self._remembered += len(path) + _PLACE_BYTES
        if self._remembered > _REMEMBERED_BYTES:
            self._forget()
        self._seen.add(path)
        self._seen_directories.add(directory)

    def _change(self, directory: bytes, name: bytes, *, is_symlink: bool) -> None:
        """Forget where symlinks lead if it changes with an entry."""
        if join(directory, name) not in self._seen:
            return
        old = self._tree.directories.find(directory, name)
        if is_symlink or (old is not None and stat.S_ISLNK(old.mode)):
            self._forget()

    def _forget(self) -> None:
        self._leads.clear()
        self._seen.clear()
        self._seen_directories.clear()
        self._remembered = 0
        self._times_forgotten += 1


def find_directory(tree: Tree, path: bytes) -> bytes | None:
    """Return where the directory ``path`` really is, or ``None`` if it is not."""
    return Paths(tree).find_directory(path)


def find(tree: Tree, path: bytes) -> tuple[bytes, Dirent | None]:
    """Return where ``path`` really lies and what is there; see ``Paths.find``."""
    return Paths(tree).find(path)


def remove(tree: Tree, directory: bytes, name: bytes) -> set[bytes]:
    """Remove an entry and all below it; return the directories that went."""
    tree.directories.drop(directory, name)
    removed: set[bytes] = set()
    waiting = [join(directory, name)]
    while waiting:
        path = waiting.pop()
        children = tree.directories.pop(path, None)
        if children is not None:
            removed.add(path)
            waiting += [
                join(path, child)
                for child, dirent in children.items()
                if stat.S_ISDIR(dirent.mode)
            ]
    return removed
