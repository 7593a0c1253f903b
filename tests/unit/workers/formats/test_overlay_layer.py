"""A published layer is its own cache: it reads back as what was published."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.drawn_layers import DrawnLayers
from tests.support.images.layer_trees import LayerStack, layer
from tests.support.repositories.memory_sink import MemorySink
from tests.support.repositories.repository_builders import streamed
from workers.cvmfs import Dirent, Tree
from workers.formats.chained_layer import chained
from workers.formats.overlay_layer import (
    LAYERFS,
    METADATA,
    RECORD,
    NotOurLayer,
    OverlayForm,
    check_form,
    overlay_form,
    publishable,
    read_overlay_form,
    shown,
)
from workers.formats.paths import layer_path
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.merge import merge
from workers.images.layers.verify import VerificationFailed, verify_layer

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
    tars.file(b"a", b"1"),
    tars.hard_link(b"b", b"a"),
    tars.whiteout(b"back"),
    tars.directory(b"back"),
    tars.file(b"back/again", b""),
    tars.file(b"odd\xff", b"\xff"),
    tars.character_device(b"null", 1, 3),
]


def reader(sink: MemorySink) -> Callable[[Dirent], bytes]:
    def read(dirent: Dirent) -> bytes:
        assert dirent.content
        return b"".join(sink.pieces(dirent.content))

    return read


def published(top: LayerTree, sink: MemorySink) -> tuple[Tree, OverlayForm]:
    """Return a layer's published tree, and what is read back of a copy of it."""
    tree = publishable(overlay_form(top), sink.put_bytes)
    copy = Tree(tree.root, {path: dict(e) for path, e in tree.directories.items()})
    return tree, read_overlay_form(copy, reader(sink))


@pytest.mark.parametrize("entries", [UPPER, BASE, []], ids=["upper", "base", "empty"])
def test_a_published_layer_reads_back_as_it_was(entries: list[bytes]) -> None:
    sink = MemorySink()
    below, top = layer(*BASE, sink=sink), layer(*entries, sink=sink)
    _, again = published(top, sink)
    assert again.layer == top
    assert again.tree() == overlay_form(top).tree()
    assert merge([below, again.layer]) == merge([below, top])


def test_deletions_are_what_an_overlay_takes_for_deletions() -> None:
    sink = MemorySink()
    tree, _ = published(layer(*UPPER, sink=sink), sink)
    gone = tree.directories[b"layerfs/etc"][b"group"]
    assert (stat.S_IFMT(gone.mode), gone.device) == (stat.S_IFCHR, 0)
    assert b"gone" in tree.directories[b"layerfs/usr/lib/deep/er"]
    for path in (b"layerfs/var", b"layerfs"):
        name = b"cache" if path.endswith(b"var") else b"back"
        names = [key for key, _ in tree.directories[path][name].xattrs]
        assert names == [b"trusted.overlay.opaque", b"user.overlay.opaque"]


def test_what_a_layer_only_passes_through_is_roots_whatever_lies_below() -> None:
    sink = MemorySink()
    tree, _ = published(layer(*UPPER, sink=sink), sink)
    directory = Dirent(stat.S_IFDIR | 0o755)
    assert tree.directories[b""][LAYERFS] == directory
    assert tree.directories[LAYERFS][b"etc"] == directory
    assert tree.directories[b"layerfs/usr"][b"lib"] == directory
    # And what nothing but a deletion is in.
    assert tree.directories[b"layerfs/usr/lib"][b"deep"] == directory


def test_directories_that_look_as_in_the_layer_are_held_once() -> None:
    form = overlay_form(layer(*UPPER))
    assert b"opt" not in form.changed
    top = layer(tars.file(b"opt/a", b""), tars.whiteout(b"etc/b"))
    form = overlay_form(top)
    assert form.directory(b"opt") is top.tree.directories[b"opt"]
    assert set(form.changed) == {b"", b"etc"}


def test_a_layer_of_another_tool_is_not_read() -> None:
    sink = MemorySink()
    tree, _ = published(layer(*BASE, sink=sink), sink)
    without = Tree(tree.root, {**tree.directories, METADATA: {}})
    with pytest.raises(NotOurLayer):
        read_overlay_form(without, lambda _: b"")


@pytest.mark.parametrize(
    "text",
    [b"no json", b"[]", b'{"version": 99}', b'{"version": 2, "implied": []}'],
)
def test_a_record_that_we_do_not_understand_is_not_read(text: bytes) -> None:
    sink = MemorySink()
    tree, _ = published(layer(*BASE, sink=sink), sink)
    with pytest.raises(NotOurLayer):
        read_overlay_form(tree, lambda _: text)


def test_the_path_is_the_digest_of_the_compressed_layer() -> None:
    digest = "sha256:" + "ab" * 32
    assert layer_path(digest) == b"/.layers/ab/" + b"ab" * 32
    assert RECORD == b"blob.json"


def test_publishing_leaves_the_layer_as_it_is() -> None:
    sink = MemorySink()
    top, again = layer(*UPPER, sink=sink), layer(*UPPER, sink=sink)
    publishable(overlay_form(top), sink.put_bytes)
    assert top == replace(again)


# What was written is verified while it is read back.


def verify_written(tree: Tree, top: LayerTree, sink: MemorySink) -> None:
    """Verify a published tree against a layer, as the publisher does."""
    copy = Tree(tree.root, {path: dict(e) for path, e in tree.directories.items()})
    form = overlay_form(top)
    verify_layer(shown(streamed(copy), top, reader(sink)), LayerTree(form.tree()))
    check_form(form)


@given(st.data())
def test_whatever_the_layers_what_is_published_of_each_is_verified(
    data: st.DataObject,
) -> None:
    layers = DrawnLayers(data)
    stack = LayerStack(*[layers.layer() for _ in range(data.draw(st.integers(1, 3)))])
    sink = MemorySink()
    for number, top in enumerate(stack.layers):
        alone = chained(top, merge(stack.layers[:number]))
        form = overlay_form(alone)
        verify_written(publishable(form, sink.put_bytes), alone, sink)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def upper(sink: MemorySink) -> tuple[Tree, LayerTree]:
    top = layer(*UPPER, sink=sink)
    return publishable(overlay_form(top), sink.put_bytes), top


def test_an_entry_of_a_layer_that_differs_is_noticed(
    upper: tuple[Tree, LayerTree], sink: MemorySink
) -> None:
    tree, top = upper
    verify_written(tree, top, sink)
    entries = tree.directories[LAYERFS]
    tree.directories[LAYERFS] = {**entries, b"a": entries[b"a"]._replace(mode=0o100600)}
    with pytest.raises(VerificationFailed, match="/a has another mode"):
        verify_written(tree, top, sink)


@pytest.mark.parametrize(
    ("directory", "name", "says"),
    [
        (b"layerfs/usr/lib", b"new", "/usr/lib/new is missing"),
        (b"layerfs", b"b", "/ has other hard links|/b is missing"),
    ],
)
def test_an_entry_of_a_layer_that_is_missing_is_noticed(
    upper: tuple[Tree, LayerTree],
    sink: MemorySink,
    directory: bytes,
    name: bytes,
    says: str,
) -> None:
    tree, top = upper
    tree.directories.drop(directory, name)
    with pytest.raises(VerificationFailed, match=says):
        verify_written(tree, top, sink)


def test_a_directory_of_a_layer_that_is_missing_or_too_many_is_noticed(
    upper: tuple[Tree, LayerTree], sink: MemorySink
) -> None:
    tree, top = upper
    extra = {**tree.directories, b"layerfs/more": {b"x": Dirent(stat.S_IFIFO)}}
    with pytest.raises(VerificationFailed, match="/more/x should not be there"):
        verify_written(Tree(tree.root, extra), top, sink)
    del extra[b"layerfs/more"], extra[b"layerfs/back"]
    with pytest.raises(VerificationFailed, match="/back is missing"):
        verify_written(Tree(tree.root, extra), top, sink)


@pytest.mark.parametrize(
    ("key", "value"), [("opaque", []), ("whiteouts", {}), ("implied", []), ("size", 0)]
)
def test_a_layer_published_with_another_record_is_noticed(
    upper: tuple[Tree, LayerTree], sink: MemorySink, key: str, value: object
) -> None:
    tree, top = upper
    record = json.loads(reader(sink)(tree.directories[METADATA][RECORD]))
    assert record[key] != value
    changed = sink.put_bytes(json.dumps({**record, key: value}).encode())
    entry = Dirent(stat.S_IFREG | 0o644, content=changed)
    for metadata in ({RECORD: entry}, {}):
        tree.directories[METADATA] = metadata
        with pytest.raises(VerificationFailed, match="another layer's record"):
            verify_written(tree, top, sink)


def test_a_layer_published_without_its_directory_is_noticed(
    upper: tuple[Tree, LayerTree], sink: MemorySink
) -> None:
    tree, top = upper
    with pytest.raises(VerificationFailed, match="without a directory for it"):
        verify_written(Tree(tree.root, {b"": {}}), top, sink)


def test_a_form_that_does_not_give_the_layer_back_is_noticed() -> None:
    form = overlay_form(layer(*UPPER))
    check_form(form)
    form.changed.put(b"etc", b"more", Dirent(stat.S_IFIFO))
    with pytest.raises(VerificationFailed, match="cannot be read back"):
        check_form(form)
