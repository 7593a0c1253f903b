"""What of an image the repository holds already, so that it need not be made again.

What is held was verified once, against the image that it was made for. Another image is
led to it only if it names the same layers, and if its own rule allows as much.
"""

from collections.abc import Sequence

from workers.formats.flat_record import RECORD_PATH, FlatRecord
from workers.formats.layers import layer_path, record_path
from workers.formats.paths import flat_path, squashed_path
from workers.formats.singularity import MARK
from workers.images.layers.budget import Budget, check_layers
from workers.images.resolved import ResolvedImage
from workers.policy import Rule
from workers.publishing.plan import Publisher


def wanted(
    images: Sequence[ResolvedImage], publisher: Publisher, rule: Rule
) -> list[str]:
    """Return digests of what of an image's platforms has to be made.

    Raises:
        ImageRejected: what is held is more than the rule allows.
    """
    digests = []
    for image in images:
        if "flat" in rule.formats and not _is_flat_held(image, publisher, rule):
            digests.append(image.manifest.config.digest)
        squashed = squashed_path(image.manifest.config.digest)
        if "image" in rule.formats and not publisher.has(squashed):
            digests.append(image.manifest.config.digest)
        if "layers" in rule.formats:
            digests += [
                layer.digest
                for layer in image.manifest.layers
                if not publisher.has(record_path(layer.digest))
            ]
    return list(dict.fromkeys(digests))


def relied_on(images: Sequence[ResolvedImage], rule: Rule) -> list[bytes]:
    """Return the paths of the trees that have to be there for images to be live."""
    paths = []
    for image in images:
        if "flat" in rule.formats:
            paths.append(flat_path(image.manifest.config.digest))
        if "layers" in rule.formats:
            paths += [layer_path(layer.digest) for layer in image.manifest.layers]
    return list(dict.fromkeys(paths))


def is_verified(image: ResolvedImage, publisher: Publisher, rule: Rule) -> bool:
    """Tell whether nothing of an image has to be made, nor looked at.

    Without a flat tree nothing says that these layers are those of this config but the
    layers themselves.

    Raises:
        ImageRejected: as ``wanted``.
    """
    return "flat" in rule.formats and not wanted([image], publisher, rule)


def _is_flat_held(image: ResolvedImage, publisher: Publisher, rule: Rule) -> bool:
    """Tell whether the image's root file system is there, made by us of its layers.

    What others unpack may have lost owners, modes, times and attributes; it is made
    again before a name of ours points to it.
    """
    tree = flat_path(image.manifest.config.digest)
    path, content = MARK
    if publisher.read(tree + b"/" + path) != content:
        return False
    record = FlatRecord.parse(publisher.read(tree + b"/" + RECORD_PATH) or b"")
    layers = tuple(layer.digest for layer in image.manifest.layers)
    if record is None or record.layers != layers:
        return False
    check_layers(len(layers), rule.limits.layers)
    budget = Budget(rule.limits.size_bytes, rule.limits.files)
    budget.spend_layer(record.size, record.entries)
    return True
