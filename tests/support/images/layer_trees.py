"""Layers made in memory, straight from the entries of their tars."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from tests.support.images.tree_listing import Entry, Listing, list_tree
from tests.support.repositories.memory_sink import MemorySink
from workers.cvmfs import Dirent, Tree
from workers.images.layers.budget import Budget
from workers.images.layers.content import ContentPool
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.merge import merge
from workers.images.layers.read import read_layer
from workers.images.layers.steps import Steps

SIZE_LIMIT, FILES_LIMIT = 1 << 30, 10_000


def layer(*entries: bytes, sink: MemorySink | None = None) -> LayerTree:
    """Return the layer whose tar has these entries."""
    return layer_of(tars.tar(*entries), sink)


def layer_of(
    blob: bytes,
    sink: MemorySink | None = None,
    budget: Budget | None = None,
    steps: Steps | None = None,
) -> LayerTree:
    """Return the layer that a blob, compressed or not, holds."""
    with ContentPool(sink or MemorySink(), threads=2) as pool:
        return read_layer(
            BlockStream(blob), pool, budget or Budget(SIZE_LIMIT, FILES_LIMIT), steps
        )


def names(read: LayerTree) -> set[bytes]:
    """Return the paths of all that a layer adds."""
    return {
        directory + b"/" + name if directory else name
        for directory, entries in read.tree.directories.items()
        for name in entries
    }


def entry_at(read: LayerTree, path: bytes) -> Dirent:
    directory, _, name = path.rpartition(b"/")
    return read.tree.directories[directory][name]


def as_stacked(listing: Listing, layers: Sequence[LayerTree]) -> Listing:
    """Leave out what an overlay of layers does not show as the root file system has it.

    That is how a directory looks which the uppermost layer that has it does not name.
    """
    passed: set[bytes] = set()
    for each in layers:
        wanted = each.opaque | each.whiteouts.keys()
        above = {path[:end] for path in wanted for end in _ends(path)}
        passed -= each.tree.directories.keys() - each.implied
        passed |= each.implied | (above - each.tree.directories.keys())
    return {
        path: replace(entry, mode=0, uid=0, gid=0, mtime=0, xattrs=())
        if path in passed and entry.type == "directory"
        else entry
        for path, entry in listing.items()
    }


def _ends(path: bytes) -> Iterator[int]:
    """Yield where the components of a path end."""
    yield from (at for at, byte in enumerate(path) if byte == ord("/"))
    yield len(path)


class LayerStack:
    """Layers on top of each other, with the content of their files.

    Stack([tars.file(b"a", b"1")], [tars.whiteout(b"a")]).listing
    """

    def __init__(self, *layers: list[bytes]) -> None:
        self.sink = MemorySink()
        self.layers = [layer(*entries, sink=self.sink) for entries in layers]
        # As those of large images are, and as they are not: nobody may notice.
        for packed in self.layers[::2]:
            packed.tree.directories.pack()
        self.tree: Tree = merge(self.layers)

    @property
    def listing(self) -> Listing:
        return list_tree(self.tree, self.sink.pieces)

    @property
    def paths(self) -> set[bytes]:
        return set(self.listing) - {b""}

    def __getitem__(self, path: bytes) -> Entry:
        return self.listing[path]

    def content(self, path: bytes) -> bytes:
        """Return the bytes of a file."""
        directory, _, name = path.rpartition(b"/")
        content = self.tree.directories[directory][name].content
        assert content is not None
        return self.sink.read(content)
