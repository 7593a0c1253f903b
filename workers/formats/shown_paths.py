"""Where an image that is live is found, by the formats that it is published in."""

from collections.abc import Collection

from workers.formats.paths import LAYERS, image_path, squashed_path
from workers.reference import Reference


def places(
    reference: Reference,
    formats: Collection[str],
    *,
    config_digest: str | None = None,
    thin: Reference | None = None,
) -> dict[str, str]:
    """Return by format a path in the repository, or the name that an engine is given.

    Args:
        reference: of the image.
        formats: that it is published in.
        config_digest: of the platform whose one file is to be named; None: not known.
        thin: where its thin image is.
    """
    found = {
        "flat": image_path(reference).decode(),
        "layers": LAYERS.decode(),
        "podman": str(reference),
    }
    if config_digest is not None:
        found["image"] = squashed_path(config_digest).decode()
    if thin is not None:
        found["thin"] = str(thin)
    return {name: place for name, place in found.items() if name in formats}
