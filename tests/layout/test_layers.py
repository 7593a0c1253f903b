"""A published layer is its own cache: it reads back as what was published."""

import stat
from dataclasses import replace

import pytest

from tests.support import tars
from tests.support.layers import layer
from tests.support.sink import MemorySink
from workers.cvmfs import Dirent, Tree
from workers.images.layer_tree import LayerTree
from workers.images.merge import merge
from workers.layout.layers import (
    LAYERFS,
    METADATA,
    RECORD,
    NotOurLayer,
    layer_path,
    publishable,
    read_layer_tree,
)

BASE = [
    tars.directory(b"etc", mode=0o711, uid=3),
    tars.file(b"etc/passwd", b"root"),
    tars.file(b"etc/group", b"root", mode=0o640),
    tars.directory(b"usr", mode=0o750),
    tars.directory(b"usr/lib", mode=0o700),
    tars.file(b"usr/lib/old", b"old"),
]
UPPER = [
    tars.file(b"etc/passwd", b"changed"),
    tars.whiteout(b"etc/group"),
    tars.whiteout(b"usr/lib/deep/er/gone"),
    tars.opaque(b"var/cache"),
    tars.file(b"usr/lib/new", b"new"),
    tars.hard_link(b"usr/lib/linked", b"usr/lib/old"),
    tars.file(b"a", b"1"),
    tars.hard_link(b"b", b"a"),
    tars.whiteout(b"back"),
    tars.directory(b"back"),
    tars.file(b"back/again", b""),
    tars.file(b"odd\xff", b"\xff"),
    tars.character_device(b"null", 1, 3),
]


def published(
    top: LayerTree, below: LayerTree, sink: MemorySink
) -> tuple[Tree, LayerTree]:
    """Return a layer's published tree, and a copy of it read back."""
    tree = publishable(top, merge([below]), sink.put_bytes)
    copy = Tree(tree.root, {path: dict(e) for path, e in tree.directories.items()})

    def read(dirent: Dirent) -> bytes:
        assert dirent.content
        return b"".join(sink.pieces(dirent.content))

    return tree, read_layer_tree(copy, read)


@pytest.mark.parametrize("entries", [UPPER, BASE, []], ids=["upper", "base", "empty"])
def test_a_published_layer_reads_back_as_it_was(entries: list[bytes]) -> None:
    sink = MemorySink()
    below, top = layer(*BASE, sink=sink), layer(*entries, sink=sink)
    _, again = published(top, below, sink)
    assert again == top
    assert merge([below, again]) == merge([below, top])


def test_deletions_are_what_an_overlay_takes_for_deletions() -> None:
    sink = MemorySink()
    below, top = layer(*BASE, sink=sink), layer(*UPPER, sink=sink)
    tree, _ = published(top, below, sink)
    gone = tree.directories[b"layerfs/etc"][b"group"]
    assert (stat.S_IFMT(gone.mode), gone.device) == (stat.S_IFCHR, 0)
    assert b"gone" in tree.directories[b"layerfs/usr/lib/deep/er"]
    for path in (b"layerfs/var", b"layerfs"):
        name = b"cache" if path.endswith(b"var") else b"back"
        names = [key for key, _ in tree.directories[path][name].xattrs]
        assert names == [b"trusted.overlay.opaque", b"user.overlay.opaque"]


def test_what_a_layer_only_passes_through_looks_as_it_does_below() -> None:
    sink = MemorySink()
    below, top = layer(*BASE, sink=sink), layer(*UPPER, sink=sink)
    tree, _ = published(top, below, sink)
    assert tree.directories[LAYERFS][b"etc"].uid == 3
    assert stat.S_IMODE(tree.directories[b"layerfs/usr"][b"lib"].mode) == 0o700
    linked = tree.directories[b"layerfs/usr/lib"][b"linked"]
    assert linked.content == below.tree.directories[b"usr/lib"][b"old"].content


def test_a_layer_of_another_tool_is_not_read() -> None:
    sink = MemorySink()
    tree, _ = published(layer(*BASE, sink=sink), layer(), sink)
    without = Tree(tree.root, {**tree.directories, METADATA: {}})
    with pytest.raises(NotOurLayer):
        read_layer_tree(without, lambda _: b"")


@pytest.mark.parametrize("text", [b"no json", b"[]", b'{"version": 99}'])
def test_a_record_that_we_do_not_understand_is_not_read(text: bytes) -> None:
    sink = MemorySink()
    tree, _ = published(layer(*BASE, sink=sink), layer(), sink)
    with pytest.raises(NotOurLayer):
        read_layer_tree(tree, lambda _: text)


def test_the_path_is_the_digest_of_the_compressed_layer() -> None:
    digest = "sha256:" + "ab" * 32
    assert layer_path(digest) == b"/.layers/ab/" + b"ab" * 32
    assert RECORD == b"layer.json"


def test_publishing_leaves_the_layer_as_it_is() -> None:
    sink = MemorySink()
    below, top = layer(*BASE, sink=sink), layer(*UPPER, sink=sink)
    again = layer(*UPPER, sink=sink)
    publishable(top, merge([below]), sink.put_bytes)
    assert top == replace(again)
