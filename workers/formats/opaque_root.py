"""A layer whose root is opaque, said so that an overlay understands it.

The kernel takes a directory for opaque by its attribute, but never the root of a layer:
what lies below that has to be deleted name by name. A layer that several images share
knows the names of the image that it was first published with.

Source: fs/overlayfs/super.c, ``ovl_get_root`` ("Root is always merge").
"""

from dataclasses import replace

from workers.cvmfs import Tree
from workers.images.layers.layer_tree import LayerTree


def with_root_deleted(layer: LayerTree, below: Tree) -> LayerTree:
    """Return the layer, with a deletion of all that its opaque root hides.

    Nothing else changes: merged, it comes to the same.

    Args:
        layer: stays as it is.
        below: what the layers under it come to.
    """
    if b"" not in layer.opaque:
        return layer
    names = layer.whiteouts.get(b"", set()) | below.directories[b""].keys()
    return replace(layer, whiteouts={**layer.whiteouts, b"": names})
