"""Where a large tree is cut into catalogs that are nested in one another.

A client downloads a catalog whole before it sees a single entry of it, and whoever
writes one holds all of it in memory. So trees above a size are cut, at directories:
from the innermost outwards, wherever too much has come together, the heaviest directory
gets a catalog of its own. Pure: the same tree is always cut in the same places.

A directory that has itself more entries than a catalog should have cannot be cut.

Source: the idea is that of cvmfs/catalog_balancer.h (automatic catalogs).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from workers.cvmfs.errors import InvalidTree
from workers.cvmfs.values.paths import parent, printable


@dataclass(frozen=True, slots=True)
class CutSize:
    """How large catalogs may become, in entries and what weighs as much.

    Attributes:
        whole: a tree with up to this many stays one catalog. Writing one of 200 000
            takes a process beyond 300 MB, so they begin earlier to be cut.
        most: what a catalog of a larger tree has at most, where directories allow it.
            With 50 000 a catalog takes 8 MB, 4 MB of them to be downloaded.
        least: a directory with fewer, all below it included, gets no catalog of its
            own: each costs a client a download.
    """

    whole: int = 150_000
    most: int = 50_000
    least: int = 1_000


DEFAULT_CUT = CutSize()


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one catalog.

    Attributes:
        top: the directory that is its root, relative to the tree.
        directories: those whose entries it has, sorted, ``top`` among them.
        mountpoints: directories among these entries that are cut off, sorted.
    """

    top: bytes
    directories: list[bytes]
    mountpoints: list[bytes]


def cut(directories: Mapping[bytes, int], size: CutSize) -> list[Part]:
    """Return the parts of a tree, each after all that are nested in it.

    Args:
        directories: of a ``Tree``, with what each weighs.
        size: of the parts.

    Raises:
        InvalidTree: a directory is not in another.
    """
    everything = sorted(directories)
    if sum(directories.values()) <= size.whole:
        return [Part(b"", everything, [])]
    parts = {top: Part(top, [], []) for top in (b"", *_tops(directories, size))}
    part_of: dict[bytes, Part] = {}
    for path in everything:  # each after the one that it is in
        outer = part_of.get(parent(path)) if path else None
        if path and outer is None:
            raise InvalidTree(f"the tree does not list what {printable(path)} is in")
        part = parts.get(path, outer)
        if part is None:
            raise InvalidTree("a tree without a root directory")
        if part is not outer and outer is not None:
            outer.mountpoints.append(path)
        part.directories.append(path)
        part_of[path] = part
    return sorted(parts.values(), key=lambda part: (-_depth(part.top), part.top))


def _tops(directories: Mapping[bytes, int], size: CutSize) -> list[bytes]:
    """Return the directories that get a catalog of their own."""
    found = []
    # Of each directory those in it that can be cut off, with what they weigh.
    inside: dict[bytes, list[tuple[int, bytes]]] = {}
    weights: dict[bytes, int] = {}
    for path in sorted(directories, reverse=True):  # what is inside comes first
        weight = weights.pop(path, 0) + directories[path]
        heaviest_last = sorted(inside.pop(path, ()))
        while weight > size.most and heaviest_last:
            lighter, top = heaviest_last.pop()
            weight -= lighter
            found.append(top)
        if not path:
            break
        outer = parent(path)
        weights[outer] = weights.get(outer, 0) + weight
        if weight >= size.least and _is_text(path):
            inside.setdefault(outer, []).append((weight, path))
    return found


def _is_text(path: bytes) -> bool:
    """Tell whether a catalog can be mounted there: its properties name the path."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _depth(path: bytes) -> int:
    return path.count(b"/") + 1 if path else 0
