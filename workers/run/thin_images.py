"""Keeping the thin image of a published image in its registry.

After the layers are in CVMFS, never before: whoever pulls a thin image finds them.
"""

from workers.errors import PermanentError
from workers.images.manifest import parse_manifest
from workers.images.thin import MANIFEST_TYPE, make_thin
from workers.layout.layers import LAYERFS, layer_path
from workers.layout.names import metadata_path
from workers.plan import Publisher
from workers.reference import Reference
from workers.reference_template import ReferenceTemplate
from workers.registry import ImageNotFound, RegistryClient


class NoThinRegistry(PermanentError):
    """Thin images are wanted, and nobody said where to put them."""


def keep_thin(
    client: RegistryClient,
    publisher: Publisher,
    fqrn: str,
    template: ReferenceTemplate | None,
    reference: Reference,
) -> None:
    """Push the thin image of what is published under a tag, if it is not there.

    Args:
        client: pushes it, with the registry's configured credentials.
        publisher: of the repository that has the image.
        fqrn: of that repository.
        template: of its name; None: not configured.
        reference: of the image, with a tag.

    Raises:
        NoThinRegistry: the configuration lacks it.
        WorkerError: what the registry answers.
    """
    if template is None:
        raise NoThinRegistry(
            f"the rule wants thin images: say under repositories.{fqrn}.thin in the "
            "configuration where to push them"
        )
    folder = metadata_path(reference)
    manifest = publisher.read(folder + b"/manifest.json")
    config = publisher.read(folder + b"/config.json")
    if manifest is None or config is None:
        return  # removed meanwhile
    places = [
        (layer.digest, f"cvmfs://{fqrn}{_layer_place(layer.digest)}")
        for layer in parse_manifest(manifest).layers
    ]
    thin = make_thin(f"https://{reference}", places, config)
    target = template.fill(reference)
    try:
        is_there = client.resolve(target).digest == thin.digest
    except ImageNotFound:
        is_there = False
    if not is_there:
        client.push(target, thin.blobs, thin.manifest, MANIFEST_TYPE)


def _layer_place(digest: str) -> str:
    return (layer_path(digest) + b"/" + LAYERFS).decode()
