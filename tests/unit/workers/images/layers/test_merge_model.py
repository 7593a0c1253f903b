"""Merging layers equals unpacking them one by one, whatever the layers."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.drawn_layers import DrawnLayers
from tests.support.images.layer_trees import LayerStack
from tests.support.images.tree_listing import Entry, Listing, differences
from tests.support.images.unpacking_model import Inode, UnpackingModel


def listing_of(system: UnpackingModel) -> Listing:
    names: dict[Inode, list[bytes]] = {}
    for place, inode in system.walk():
        names.setdefault(inode, []).append(b"/".join(place))
    return {
        b"/".join(place): Entry(
            inode.type,
            inode.mode,
            inode.uid,
            0,
            len(inode.data) if inode.type == "file" else 0,
            inode.mtime * 10**9,
            inode.data if inode.type == "symlink" else b"",
            sha256=hashlib.sha256(inode.data).hexdigest()
            if inode.type == "file"
            else "",
            linked=min(names[inode]) if len(names[inode]) > 1 else b"",
        )
        for place, inode in system.walk()
    }


@given(st.data())
def test_merging_layers_equals_unpacking_them_one_by_one(data: st.DataObject) -> None:
    layers = DrawnLayers(data)
    count = data.draw(st.integers(1, 4))
    stack = LayerStack(*[layers.layer() for _ in range(count)])
    assert differences(listing_of(layers.system), stack.listing) == []
