"""The flat root file system, for apptainer and whoever else takes a directory.

``/.flat/<xx>/<config digest hex>`` is the tree, ``/<registry>/<repository>:<tag>`` the
link that leads to it; of several platforms, ``multiarch.py`` has the links.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from workers.cvmfs import StreamedTree
from workers.formats.documents import read_document
from workers.formats.flat_record import RECORD_PATH, FlatRecord, flat_record
from workers.formats.format import (
    Building,
    ConfigDigest,
    ConvertedImage,
    Format,
    ImageBounds,
    Placement,
    Use,
)
from workers.formats.multiarch import other_names, platform_path, variant_link
from workers.formats.paths import FLAT, flat_path, image_path, link_target
from workers.formats.receipt import CONVERTER, Receipt
from workers.formats.singularity import MARK, add_singularity
from workers.images.layers.budget import Budget, check_layers
from workers.images.layers.steps import Steps
from workers.images.layers.verify import verify
from workers.images.manifest import ImageManifest
from workers.images.platforms import Platform, default
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import LinkAt, RemoveAt, Step, TreeAt
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference


class Flat(Format):
    """See the module."""

    name = "flat"
    shelf = FLAT
    proves_layers = True

    def missing(
        self, image: ResolvedImage, tree: PublishedTree, limits: ImageBounds
    ) -> Iterable[str]:
        """Return the config's digest, unless the tree is there and made by us of it.

        What others unpack may have lost owners, modes, times and attributes; it is made
        again before a name of ours points to it.
        """
        path = flat_path(image.manifest.config.digest)
        record = flat_record(tree, image)
        if record is None or not self.is_ours(tree, path):
            return [image.manifest.config.digest]
        check_layers(len(record.layers), limits.layers)
        budget = Budget(limits.size_bytes, limits.files)
        budget.spend_layer(record.size, record.entries)
        return []

    def relies_on(self, manifest: ImageManifest) -> Iterable[bytes]:
        """Return the path of the tree."""
        return [flat_path(manifest.config.digest)]

    def is_ours(self, tree: PublishedTree, path: bytes) -> bool:
        """Tell whether a tree carries our mark."""
        mark, content = MARK
        return read_document(tree, path + b"/" + mark) == content

    def build(self, converted: ConvertedImage, building: Building) -> Iterable[TreeAt]:
        """Put the layers on top of each other, and add what apptainer needs."""
        image, layers = converted.image, converted.layers
        tree = converted.root_file_system()
        record = FlatRecord(
            tuple(layer.digest for layer in image.manifest.layers),
            sum(layer.size for layer in layers),
            sum(layer.entries for layer in layers),
            CONVERTER,
            converted.apart,
            converted.is_stacked,
        )
        put = building.sink.put_bytes
        extra = {RECORD_PATH: record.document()}
        added = add_singularity(tree, image.config, put, extra)
        if converted.is_large:
            tree.directories.pack()

        def check(written: StreamedTree) -> None:
            verify(written, layers, added, Steps(converted.still_wanted))

        return [TreeAt(flat_path(image.manifest.config.digest), tree, check)]

    def steps(
        self, placement: Placement, building: Building, tree: PublishedTree
    ) -> Iterator[Step]:
        """Yield the links; the one of the name itself comes last."""
        reference, images = placement.reference, placement.images
        if placement.receipt.is_multiarch:
            for image in images:
                yield _link(platform_path(reference, image.platform), image)
            yield from other_names(image.platform for image in images)
            yield variant_link(reference, default(images).platform)
        else:
            yield _link(image_path(reference), default(images))

    def withdraw(
        self, reference: Reference, former: Sequence[Platform], live: Receipt
    ) -> Iterator[Step]:
        """Yield the removals of the links."""
        yield RemoveAt(image_path(reference))
        for platform in former:
            yield RemoveAt(platform_path(reference, platform))

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str:
        """Return the path of the link."""
        return image_path(reference).decode()

    def uses(self, place: str, *, is_alone: bool) -> Iterator[Use]:
        """Yield the path, and apptainer's command."""
        heading = "On every node that mounts the repository"
        yield Use("path", heading, place, "Path in CVMFS")
        command = f"apptainer exec {shlex.quote(place)} bash"
        yield Use("exec", "To run it", command, "Command to run it")


def _link(path: bytes, image: ResolvedImage) -> LinkAt:
    tree = flat_path(image.manifest.config.digest)
    return LinkAt(path, link_target(path, tree))
