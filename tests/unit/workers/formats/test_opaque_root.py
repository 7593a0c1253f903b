"""A layer with an opaque root deletes, name by name, all that lies below it."""

from tests.support.images import tars
from tests.support.images.layer_trees import LayerStack, layer, names
from workers.formats.opaque_root import with_root_deleted
from workers.images.layers.merge import merge

BELOW = [
    [tars.directory(b"d"), tars.file(b"d/inner", b"1"), tars.file(b"old", b"2")],
    [tars.file(b"other", b"3"), tars.whiteout(b"old")],
]
OPAQUE = [tars.file(b".wh..wh..opq", b""), tars.file(b"new", b"4")]


def test_each_name_in_the_root_of_what_lies_below_is_deleted() -> None:
    below = LayerStack(*BELOW).tree
    deleted = with_root_deleted(layer(*OPAQUE), below)
    assert deleted.whiteouts == {b"": {b"d", b"other"}}
    assert names(deleted) == {b"new"}


def test_what_the_layer_deletes_itself_stays_deleted() -> None:
    upper = layer(*OPAQUE, tars.whiteout(b"elsewhere"), tars.whiteout(b"e/name"))
    deleted = with_root_deleted(upper, LayerStack(*BELOW).tree)
    assert deleted.whiteouts[b""] == {b"d", b"other", b"elsewhere"}
    assert deleted.whiteouts[b"e"] == {b"name"}


def test_merged_it_comes_to_the_same() -> None:
    stack = LayerStack(*BELOW)
    upper = layer(*OPAQUE, sink=stack.sink)
    deleted = with_root_deleted(upper, stack.tree)
    assert merge([*stack.layers, deleted]) == merge([*stack.layers, upper])
    assert set(merge([*stack.layers, deleted]).directories[b""]) == {b"new"}


def test_the_layer_itself_is_left_as_it_was() -> None:
    upper = layer(*OPAQUE)
    with_root_deleted(upper, LayerStack(*BELOW).tree)
    assert upper.whiteouts == {}


def test_a_layer_whose_root_is_not_opaque_is_the_same_one() -> None:
    upper = layer(tars.directory(b"d"), tars.file(b"d/.wh..wh..opq", b""))
    assert b"d" in upper.opaque
    assert with_root_deleted(upper, LayerStack(*BELOW).tree) is upper
