"""Where paths really are in a tree: symlinks followed, directories made and removed.

Symlinks are followed as a process would whose root the tree is: absolute ones begin at
the root, ``..`` stops there. What is not in the tree is taken to be a directory.
"""

import stat
from collections.abc import Iterator

from workers.cvmfs import Dirent, Tree
from workers.images.layers.names import LONGEST_PATH, join
from workers.images.rejected import ImageRejected, printable

# A directory that no layer names.
IMPLIED = Dirent(stat.S_IFDIR | 0o755)

_SYMLINK_HOPS = 40  # Linux, MAXSYMLINKS


class LoopOfSymlinks(ImageRejected):
    """Something of the image lies behind a loop of symlinks."""


def follow(tree: Tree, path: bytes) -> bytes:
    """Return where ``path`` leads to as a directory, whether it is there or not.

    Raises:
        LoopOfSymlinks: it leads through more symlinks than Linux would follow.
        ImageRejected: it leads too deep.
    """
    directories = tree.directories
    if path in directories:
        return path
    waiting = path.split(b"/")[::-1]
    at = b""
    hops = 0
    while waiting:
        part = waiting.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            at = at.rpartition(b"/")[0]
            continue
        below = join(at, part)
        dirent = directories.find(at, part)
        if dirent is None or not stat.S_ISLNK(dirent.mode):
            if len(below) > LONGEST_PATH:
                raise ImageRejected(f"a layer has too deep a path: {printable(below)}")
            at = below
            continue
        hops += 1
        if hops > _SYMLINK_HOPS:
            raise LoopOfSymlinks(
                f"a layer has something behind a loop of symlinks: {printable(path)}"
            )
        if dirent.target.startswith(b"/"):
            at = b""
        waiting += dirent.target.split(b"/")[::-1]
    return at


def find_directory(tree: Tree, path: bytes) -> bytes | None:
    """Return where the directory ``path`` really is, or ``None`` if it is not."""
    try:
        real = follow(tree, path)
    except LoopOfSymlinks:
        return None
    return real if real in tree.directories else None


def find(tree: Tree, path: bytes) -> tuple[bytes, Dirent | None]:
    """Return where ``path`` really lies and what is there.

    Symlinks are followed on the way, not at the end.
    """
    parent, _, name = path.rpartition(b"/")
    directory = follow(tree, parent)
    return join(directory, name), tree.directories.find(directory, name)


def missing_directories(tree: Tree, path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield place and name of what has to be made a directory so that ``path`` is one.

    Args:
        tree: may be changed between two of them.
        path: a result of ``follow``.
    """
    missing = []
    while path not in tree.directories:
        path, _, name = path.rpartition(b"/")
        missing.append((path, name))
    yield from reversed(missing)


def make_directories(tree: Tree, path: bytes) -> bytes:
    """Return where the directory ``path`` really is; make it if it is missing.

    What stands in the way and is no directory is replaced.
    """
    real = follow(tree, path)
    for place, name in missing_directories(tree, real):
        tree.directories.put(place, name, IMPLIED)
        tree.directories[join(place, name)] = {}
    return real


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
