"""The flat root file system, for apptainer and whoever else takes a directory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.formats.multiarch import other_names, platform_path, variant_link
from workers.formats.paths import METADATA, flat_path, image_path, link_target
from workers.images.platforms import Platform
from workers.publishing.plan import FileAt, LinkAt, Plan, RemoveAt, Step, TreeAt
from workers.reference import Reference


@dataclass(frozen=True, slots=True)
class FlatImage:
    """One platform of an image, ready to be placed.

    Attributes:
        platform: that it is for.
        config_digest: names the tree; two tags of one image share it.
        manifest: the image manifest's own bytes.
        config: the image config's own bytes.
    """

    platform: Platform
    config_digest: str
    manifest: bytes
    config: bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """An image and its name.

    Attributes:
        reference: the name that it was pushed as.
        images: one for each platform that there is, the one for clients that do not
            say what they are first.
        receipt: what we say of this publication, as JSON.
        has_flat: whether there is a root file system that the name can lead to; else
            only what is said of the image lies under its name.
        is_multiarch: whether the name stands for several platforms, by the rule.
        former: platforms that the name has stood for before.
    """

    reference: Reference
    images: Sequence[FlatImage]
    receipt: bytes
    has_flat: bool = True
    is_multiarch: bool = False
    former: Sequence[Platform] = ()


RECEIPT = b"cvmfs-webhook.json"


def plan_flat(placement: Placement, trees: Sequence[TreeAt]) -> Plan:
    """Return the steps that make an image live; the tag's link moves last.

    Args:
        placement: what is to be placed, and where.
        trees: of the root file systems and the layers, as far as the repository does
            not hold them already.
    """
    return Plan(str(placement.reference), (*trees, *_names(placement)))


def _names(placement: Placement) -> Iterator[Step]:
    reference, default = placement.reference, placement.images[0]
    link = image_path(reference)
    current = [image.platform for image in placement.images]
    for platform in placement.former:
        if not placement.is_multiarch or platform not in current:
            path = platform_path(reference, platform)
            yield RemoveAt(path)
            yield RemoveAt(METADATA + path)
    if placement.is_multiarch:
        for image in placement.images:
            path = platform_path(reference, image.platform)
            yield from _metadata(path, image)
            yield _flat_link(placement, path, image)
        yield from other_names(current)
    yield from _metadata(link, default)
    yield FileAt(METADATA + link + b"/" + RECEIPT, placement.receipt)
    if placement.is_multiarch and placement.has_flat:
        yield variant_link(reference, default.platform)
    else:
        yield _flat_link(placement, link, default)


def _flat_link(placement: Placement, path: bytes, image: FlatImage) -> Step:
    if not placement.has_flat:
        return RemoveAt(path)
    return LinkAt(path, link_target(path, flat_path(image.config_digest)))


def _metadata(path: bytes, image: FlatImage) -> Iterator[FileAt]:
    yield FileAt(METADATA + path + b"/manifest.json", image.manifest)
    yield FileAt(METADATA + path + b"/config.json", image.config)
