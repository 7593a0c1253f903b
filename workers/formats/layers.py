"""Layers as directories of their own, for overlay file systems and for ourselves.

``overlay_layer.py`` has their form. A published layer is its own cache: it is read back
for every other image that has it, and neither fetched nor unpacked again.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from workers.cvmfs import Dirent, StreamedTree
from workers.formats.flat_record import flat_record
from workers.formats.format import (
    Building,
    ConfigDigest,
    ConvertedImage,
    Format,
    ImageBounds,
    Placement,
    Use,
)
from workers.formats.overlay_layer import (
    FORMER_RECORD,
    METADATA,
    RECORD,
    NotOurLayer,
    OverlayForm,
    check_form,
    publishable,
    read_overlay_form,
    shown,
)
from workers.formats.overlay_stack import verify_stack
from workers.formats.paths import LAYERS, layer_path, record_path
from workers.formats.receipt import Receipt
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.verify import verify_layer
from workers.images.manifest import ImageManifest
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import RemoveAt, Step, TreeAt
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
        """Yield the digests of the layers that are not there with our record.

        Those that cannot be there are not missed where that is known; where the flat
        tree was made without a look at them as a stack, the config's digest is.
        """
        known = flat_record(tree, image)
        for layer in image.manifest.layers:
            if known is not None and layer.digest in known.apart:
                continue
            if tree.lookup(record_path(layer.digest)) is None:
                yield layer.digest
        if known is not None and not known.is_stacked:
            yield image.manifest.config.digest

    def relies_on(self, manifest: ImageManifest) -> Iterable[bytes]:
        """Return the paths of all layers."""
        return [layer_path(layer.digest) for layer in manifest.layers]

    def is_ours(self, tree: PublishedTree, path: bytes) -> bool:
        """Tell whether a layer has a record of ours, of whichever version."""
        records = (RECORD, FORMER_RECORD)
        folder = path + b"/" + METADATA + b"/"
        return any(tree.lookup(folder + record) is not None for record in records)

    def build(
        self, converted: ConvertedImage, building: Building
    ) -> Iterator[TreeAt | RemoveAt]:
        """Yield the tree of each layer that the repository does not hold.

        One that its blob alone cannot say goes, if a version of ours has put it there.

        Raises:
            VerificationFailed: an overlay of all of them is not the image.
        """
        done, forms = set(building.built), converted.forms()
        for number, layer in enumerate(converted.image.manifest.layers):
            path = layer_path(layer.digest)
            if not converted.is_new(number) or path in done:
                continue
            done.add(path)
            if layer.digest not in converted.apart:
                tree = publishable(forms[number], building.sink.put_bytes)
                check = partial(_verify, forms[number], building.sink)
                yield TreeAt(path, tree, check)
            elif self.is_ours(building.published, path):
                yield RemoveAt(path)
        verify_stack(forms, converted.merged())
        converted.is_stacked = True

    def steps(
        self, placement: Placement, building: Building, tree: PublishedTree
    ) -> Iterable[Step]:
        """Say which layers are not there; there is nothing else to do."""
        building.notes.extend(
            f"Layer {digest[:19]}… is not among the published layers, as {why};"
            " containerd pulls it from the registry."
            for digest, why in building.apart.items()
        )
        return ()

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
) -> Callable[[str], OverlayForm | None]:
    """Return a function that reads a published layer, by the digest of its blob.

    For any thread. It returns None where there is none of ours.

    Args:
        published: returns what is published now.
    """

    def layer(digest: str) -> OverlayForm | None:
        tree = published()
        # Not to be read whole in vain, nor to be stumbled over.
        if tree.lookup(record_path(digest)) is None:
            return None
        try:
            return read_overlay_form(tree.tree(layer_path(digest)), tree.read)
        except NotOurLayer as error:
            log.debug("digest=%s is fetched again: %s", digest, error)
            return None

    return layer


def _verify(form: OverlayForm, sink: ContentSink, written: StreamedTree) -> None:
    def read(dirent: Dirent) -> bytes:
        return b"" if dirent.content is None else b"".join(sink.pieces(dirent.content))

    verify_layer(shown(written, form.layer, read), LayerTree(form.tree()))
    check_form(form)
