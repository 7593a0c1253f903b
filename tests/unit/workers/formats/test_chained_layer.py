"""What a blob alone cannot say is said of its layer upon those below it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.drawn_layers import DrawnLayers
from tests.support.images.layer_trees import LayerStack, layer, names
from tests.support.images.tree_listing import Listing, list_tree
from workers.cvmfs import Tree
from workers.formats.chained_layer import chained, why_not_alone
from workers.images.layers.merge import merge

BELOW = [
    [tars.directory(b"d"), tars.file(b"d/inner", b"1"), tars.file(b"old", b"2")],
    [tars.file(b"other", b"3"), tars.whiteout(b"old")],
]
OPAQUE = [tars.opaque(b""), tars.file(b"new", b"4")]
LINKED = [tars.hard_link(b"e/link", b"d/inner"), tars.file(b"new", b"4")]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [tars.file(b"a", b"1"), tars.hard_link(b"b", b"a")],
        [tars.directory(b"d"), tars.opaque(b"d")],
        # A link that the same layer replaces.
        [tars.hard_link(b"a", b"lower"), tars.file(b"a", b"1")],
    ],
    ids=["empty", "links within", "opaque directory", "replaced link"],
)
def test_a_layer_that_says_all_by_itself_is_the_same_one(entries: list[bytes]) -> None:
    upper = layer(*entries)
    assert why_not_alone(upper) is None
    assert chained(upper, LayerStack(*BELOW).tree) is upper


def test_each_name_in_the_root_of_what_lies_below_is_deleted() -> None:
    upper = layer(*OPAQUE)
    assert why_not_alone(upper) == "it deletes all that lies below it"
    deleted = chained(upper, LayerStack(*BELOW).tree)
    assert deleted.whiteouts == {b"": {b"d", b"other"}}
    assert names(deleted) == {b"new"}
    assert why_not_alone(deleted) is None


def test_where_all_is_deleted_nothing_else_need_be() -> None:
    """A deletion within would make a directory where there is none."""
    more = (tars.whiteout(b"d/inner"), tars.whiteout(b"e/name"), tars.opaque(b"f"))
    deleted = chained(layer(*OPAQUE, *more), LayerStack(*BELOW).tree)
    assert deleted.whiteouts == {b"": {b"d", b"other"}}
    assert deleted.opaque == set()


def test_hard_links_to_files_of_others_become_files() -> None:
    stack = LayerStack(*BELOW)
    upper = layer(*LINKED, sink=stack.sink)
    assert why_not_alone(upper) == "it has hard links to files of the layers below it"
    alone = chained(upper, stack.tree)
    found = alone.tree.directories[b"e"][b"link"]
    assert found == stack.tree.directories[b"d"][b"inner"]._replace(link_group=0)
    assert why_not_alone(alone) is None


def test_the_layer_itself_is_left_as_it_was() -> None:
    stack = LayerStack(*BELOW)
    for entries in (OPAQUE, LINKED):
        upper = layer(*entries, sink=stack.sink)
        chained(upper, stack.tree)
        assert upper == layer(*entries, sink=stack.sink)


@given(st.data())
def test_upon_those_below_it_comes_to_the_same(data: st.DataObject) -> None:
    drawn = DrawnLayers(data)
    stack = LayerStack(*[drawn.layer() for _ in range(data.draw(st.integers(1, 3)))])
    *lower, upper = stack.layers
    again = merge([*lower, chained(upper, merge(lower))])

    def listed(tree: Tree) -> Listing:
        found = list_tree(tree, stack.sink.pieces)
        return {path: replace(entry, linked=b"") for path, entry in found.items()}

    assert listed(again) == listed(stack.tree)
