"""What there is to write of a tree, in an order in which it can be written.

Each directory comes before what is in it, and names come sorted. So the same tree gives
the same archive, whether it is read from a repository or is about to be published.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from workers.cvmfs import Dirent, Tree
from workers.cvmfs.values.xattrs import decode_xattrs, encode_xattrs

Read = Callable[[Dirent], Iterable[bytes]]
"""Returns the content of a regular file, proven, in blocks."""

# Catalogs keep one row of this name in the root of each; it is no part of an image.
_MARKER = b".cvmfscatalog"


class ArchiveEntry(NamedTuple):
    """One object of a tree.

    Attributes:
        path: relative to the tree's root, which is ``b""``.
        dirent: what is there.
        first: of hard links, the name of the same file that came before; else empty.
    """

    path: bytes
    dirent: Dirent
    first: bytes = b""


def published(
    walked: Iterable[tuple[bytes, Dirent]], top: bytes
) -> Iterator[ArchiveEntry]:
    """Yield the entries of a published tree.

    Args:
        walked: paths in the repository and entries, as ``Snapshot.walk`` yields them.
        top: path of the directory where the walk began.
    """
    skipped = len(top) + 1
    return linked((path[skipped:], dirent) for path, dirent in walked)


def prepared(tree: Tree) -> Iterator[ArchiveEntry]:
    """Yield the entries of a tree as they will be once it is published.

    A catalog holds no large extended attributes.
    """
    return linked(
        (path, _as_published(dirent) if dirent.xattrs else dirent)
        for path, dirent in walk(tree)
    )


def walk(tree: Tree) -> Iterator[tuple[bytes, Dirent]]:
    """Yield paths and entries of a tree in the order of ``Snapshot.walk``."""
    pending = [(b"", tree.root)]
    while pending:
        path, dirent = pending.pop()
        yield path, dirent
        if stat.S_ISDIR(dirent.mode):
            below = path + b"/" if path else b""
            entries = sorted(tree.directories[path].items(), reverse=True)
            pending += [(below + name, entry) for name, entry in entries]


def linked(pairs: Iterable[tuple[bytes, Dirent]]) -> Iterator[ArchiveEntry]:
    """Find names of one file, as far as catalogs know of them.

    A group of theirs lies within one directory, and its number within one catalog.
    """
    first_names: dict[tuple[bytes, int], bytes] = {}
    for path, dirent in pairs:
        directory, _, name = path.rpartition(b"/")
        if name == _MARKER:
            continue
        if not dirent.link_group:
            yield ArchiveEntry(path, dirent)
            continue
        first = first_names.setdefault((directory, dirent.link_group), path)
        yield ArchiveEntry(path, dirent, b"" if first == path else first)


def _as_published(dirent: Dirent) -> Dirent:
    blob, lost = encode_xattrs(dirent.xattrs)
    if not lost:
        return dirent
    return dirent._replace(xattrs=() if blob is None else decode_xattrs(blob))
