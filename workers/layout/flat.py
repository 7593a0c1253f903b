"""The flat root file system, for apptainer and whoever else takes a directory."""

from dataclasses import dataclass

from workers.cvmfs import Tree
from workers.layout.names import flat_path, image_path, link_target, metadata_path
from workers.plan import FileAt, LinkAt, Plan, Step, TreeAt
from workers.reference import Reference


@dataclass(frozen=True, slots=True)
class FlatImage:
    """One platform of an image, ready to be placed.

    Attributes:
        reference: the name that it was pushed as.
        config_digest: names the tree; two tags of one image share it.
        tree: root file system; ``None`` if the repository holds it already.
        manifest: the image manifest's own bytes.
        config: the image config's own bytes.
        receipt: what we say of this publication, as JSON.
    """

    reference: Reference
    config_digest: str
    tree: Tree | None
    manifest: bytes
    config: bytes
    receipt: bytes


RECEIPT = b"cvmfs-webhook.json"


def plan_flat(image: FlatImage) -> Plan:
    """Return the steps that make an image live; the tag's link moves last."""
    place = flat_path(image.config_digest)
    link = image_path(image.reference)
    metadata = metadata_path(image.reference)
    steps: list[Step] = []
    if image.tree is not None:
        steps.append(TreeAt(place, image.tree))
    steps += [
        FileAt(metadata + b"/manifest.json", image.manifest),
        FileAt(metadata + b"/config.json", image.config),
        FileAt(metadata + b"/" + RECEIPT, image.receipt),
        LinkAt(link, link_target(link, place)),
    ]
    return Plan(str(image.reference), tuple(steps))
