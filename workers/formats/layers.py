"""Layers as directories of their own, for overlay file systems and for ourselves.

``overlay_layer.py`` has their form. A published layer is its own cache: it is read back
for every other image that has it, and neither fetched nor unpacked again.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from workers.cvmfs import Dirent, StreamedTree
from workers.formats.format import (
    Building,
    ConfigDigest,
    ConvertedImage,
    Format,
    ImageBounds,
    Use,
)
from workers.formats.opaque_root import with_root_deleted
from workers.formats.overlay_layer import (
    NotOurLayer,
    publishable,
    read_layer_tree,
    unwrapped,
)
from workers.formats.paths import LAYERS, layer_path, record_path
from workers.formats.receipt import Receipt
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.verify import verify_layer
from workers.images.manifest import ImageManifest
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import TreeAt
from workers.publishing.publisher import ContentSink, PublishedTree
from workers.reference import Reference

log = logging.getLogger(__name__)


class Layers(Format):
    """See the module."""

    name = "layers"
    shelf = LAYERS
    needs_whiteouts = True

    def missing(
        self, image: ResolvedImage, tree: PublishedTree, limits: ImageBounds
    ) -> Iterator[str]:
        """Yield the digests of the layers that are not there with our record."""
        for layer in image.manifest.layers:
            if tree.lookup(record_path(layer.digest)) is None:
                yield layer.digest

    def relies_on(self, manifest: ImageManifest) -> Iterable[bytes]:
        """Return the paths of all layers."""
        return [layer_path(layer.digest) for layer in manifest.layers]

    def is_ours(self, tree: PublishedTree, path: bytes) -> bool:
        """Tell whether a layer has a record of ours."""
        digest = "sha256:" + path.rpartition(b"/")[2].decode("ascii", "replace")
        return tree.lookup(record_path(digest)) is not None

    def build(self, converted: ConvertedImage, building: Building) -> Iterator[TreeAt]:
        """Yield the tree of each layer that the repository does not hold."""
        done = set()
        for digest, layer, is_new, below in converted.stack():
            path = layer_path(digest)
            if is_new and path not in done:
                done.add(path)
                shown = with_root_deleted(layer, below)
                yield TreeAt(
                    path,
                    publishable(shown, below, building.sink.put_bytes),
                    partial(_verify, shown, building.sink),
                )

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str:
        """Return the folder of all layers."""
        return LAYERS.decode()

    def uses(self, place: str, *, is_alone: bool) -> Iterator[Use]:
        """Yield the folder, where there is nothing better to name."""
        if is_alone:
            heading = "As layers only, for containerd with the CVMFS snapshotter"
            yield Use("layers", heading, place, "Folder of all layers in CVMFS")


def published_layers(
    published: Callable[[], PublishedTree],
) -> Callable[[str], LayerTree | None]:
    """Return a function that reads a published layer, by the digest of its blob.

    For any thread. It returns None where there is none of ours.

    Args:
        published: returns what is published now.
    """

    def layer(digest: str) -> LayerTree | None:
        tree = published()
        # Not to be read whole in vain, nor to be stumbled over.
        if tree.lookup(record_path(digest)) is None:
            return None
        try:
            return read_layer_tree(tree.tree(layer_path(digest)), tree.read)
        except NotOurLayer as error:
            log.info("digest=%s is fetched again: %s", digest, error)
            return None

    return layer


def _verify(layer: LayerTree, sink: ContentSink, written: StreamedTree) -> None:
    def read(dirent: Dirent) -> bytes:
        return b"" if dirent.content is None else b"".join(sink.pieces(dirent.content))

    verify_layer(unwrapped(written, layer, read), layer)
