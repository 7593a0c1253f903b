"""What podman has to be told of the images that are published."""

import json
import stat
from collections.abc import Mapping, Sequence

from workers.layout.layers import LAYERFS, layer_path, record_path
from workers.layout.podman import (
    StoredImage,
    StoredLayer,
    put_in_store,
    take_from_store,
)
from workers.plan import Plan, Publisher, TreeAt
from workers.policy import Rule
from workers.reference import Reference
from workers.resolving import ResolvedImage


def plan_podman(
    reference: Reference,
    rule: Rule,
    images: Sequence[ResolvedImage],
    trees: Sequence[TreeAt],
    publisher: Publisher,
    live: Mapping[str, object],
) -> Plan:
    """Return the steps that put an image into podman's store, if its rule says so.

    Args:
        reference: the name that it was pushed as.
        rule: of the policy.
        images: its platforms, the one that gets the name first.
        trees: that are published with it; all other layers are there.
        publisher: has them.
        live: the receipt of what the name led to before.
    """
    if "podman" not in rule.formats:
        return forget_podman(reference, live)
    made = {tree.path: tree for tree in trees}
    stored = [
        StoredImage(
            image.manifest_digest,
            image.raw_manifest,
            image.manifest.config.digest,
            image.raw_config,
            [
                StoredLayer(
                    layer.digest,
                    layer.size,
                    diff_id,
                    _size(layer.digest, made.get(layer_path(layer.digest)), publisher),
                )
                for layer, diff_id in zip(
                    image.manifest.layers, image.config.diff_ids, strict=True
                )
            ],
        )
        for image in images
    ]
    steps = put_in_store(reference, images[0].digest, stored)
    return Plan(str(reference), tuple(steps))


def forget_podman(reference: Reference, live: Mapping[str, object]) -> Plan:
    """Return the steps after which podman knows no image by a name.

    Args:
        reference: the name.
        live: the receipt of what it leads to.
    """
    formats = live.get("formats")
    is_known = isinstance(formats, list) and "podman" in formats
    steps = take_from_store(reference) if is_known else ()
    return Plan(str(reference), tuple(steps))


def _size(digest: str, made: TreeAt | None, publisher: Publisher) -> int:
    """Return the bytes of a layer's files."""
    if made is None:
        record = publisher.read(record_path(digest))
        return int(json.loads(record)["size"]) if record is not None else 0
    return sum(
        dirent.content.size
        for path, entries in made.tree.directories.items()
        if path == LAYERFS or path.startswith(LAYERFS + b"/")
        for dirent in entries.values()
        if stat.S_ISREG(dirent.mode) and dirent.content is not None
    )
