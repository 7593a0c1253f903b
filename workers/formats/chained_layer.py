"""What a layer's blob alone cannot say, and the layer as it is upon those below it.

Two things are nowhere without what lies below: the content of a hard link to a file of
a lower layer, and what an opaque root deletes, which an overlay has to be told name by
name. The kernel takes a directory for opaque by its attribute, but never the root of a
layer. Such a layer is never published under its blob's digest, where another image
would be shown content and deletions of the first one.

Source: fs/overlayfs/super.c, ``ovl_get_root`` ("Root is always merge").
"""

from dataclasses import replace

from workers.cvmfs import Directories, Tree
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.paths_in_tree import Paths
from workers.images.layers.steps import Steps


def why_not_alone(layer: LayerTree) -> str | None:
    """Return what a layer has that its blob alone cannot say; None: nothing."""
    if any(layer.links.values()):
        return "it has hard links to files of the layers below it"
    if b"" in layer.opaque:
        return "it deletes all that lies below it"
    return None


def chained(layer: LayerTree, below: Tree, steps: Steps | None = None) -> LayerTree:
    """Return a layer in which everything is said that it does to those below it.

    Hard links to their files are files of its own, and an opaque root is a deletion of
    each name in theirs. Upon them, it comes to the same.

    Args:
        layer: stays as it is.
        below: what the layers under it come to.
        steps: counts what finding paths costs.
    """
    if why_not_alone(layer) is None:
        return layer
    tree = Tree(layer.tree.root, _shared(layer.tree.directories))
    own = replace(layer, tree=tree, links={})
    paths = Paths(below, steps)
    for directory, links in layer.links.items():
        for name, target in links.items():
            _, linked = paths.find(target)
            if linked is not None:
                alone = linked._replace(link_group=0)
                tree.directories.put(directory, name, alone)
    if b"" in layer.opaque:
        # With that, there is nothing left to be deleted elsewhere.
        own.whiteouts = {b"": set(below.directories[b""])}
        own.opaque = (layer.opaque & tree.directories.keys()) - {b""}
    return own


def _shared(directories: Directories) -> Directories:
    shared = Directories()
    for path in directories:
        shared.share(path, directories, path)
    return shared
