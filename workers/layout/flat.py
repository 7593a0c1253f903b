"""The flat root file system, for apptainer and whoever else takes a directory."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.layout.names import flat_path, image_path, link_target, metadata_path
from workers.plan import FileAt, LinkAt, Plan, TreeAt
from workers.reference import Reference


@dataclass(frozen=True, slots=True)
class FlatImage:
    """One platform of an image, ready to be placed.

    Attributes:
        reference: the name that it was pushed as.
        config_digest: names the tree; two tags of one image share it.
        manifest: the image manifest's own bytes.
        config: the image config's own bytes.
        receipt: what we say of this publication, as JSON.
    """

    reference: Reference
    config_digest: str
    manifest: bytes
    config: bytes
    receipt: bytes


RECEIPT = b"cvmfs-webhook.json"


def plan_flat(image: FlatImage, trees: Sequence[TreeAt]) -> Plan:
    """Return the steps that make an image live; the tag's link moves last.

    Args:
        image: what is to be placed.
        trees: of the root file system and the layers, as far as the repository does
            not hold them already.
    """
    place = flat_path(image.config_digest)
    link = image_path(image.reference)
    metadata = metadata_path(image.reference)
    return Plan(
        str(image.reference),
        (
            *trees,
            FileAt(metadata + b"/manifest.json", image.manifest),
            FileAt(metadata + b"/config.json", image.config),
            FileAt(metadata + b"/" + RECEIPT, image.receipt),
            LinkAt(link, link_target(link, place)),
        ),
    )
