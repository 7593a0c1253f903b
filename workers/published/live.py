"""What is known of a live image besides its name: where it is, and its size.

A run tells it to the ledger, and a ledger that is rebuilt learns the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from workers.formats.formats import shown
from workers.formats.receipt import Receipt
from workers.images.manifest import ImageManifest
from workers.reference import Reference


@dataclass(frozen=True, slots=True)
class LiveImage:
    """What is known of a live image.

    Attributes:
        places: as in ``ImageRecord``.
        size: as in ``ImageRecord``.
    """

    places: Mapping[str, str]
    size: int | None


def what_is_live(
    reference: Reference, receipt: Receipt, manifest: ImageManifest | None
) -> LiveImage:
    """Return what a repository says of an image that is live in it.

    Args:
        reference: its name.
        receipt: that lies beside it.
        manifest: that lies beside it; None where none can be read.
    """
    if manifest is None:
        return LiveImage(shown(reference, receipt, lambda: None), None)
    return LiveImage(
        shown(reference, receipt, lambda: manifest.config.digest),
        sum(layer.size for layer in manifest.layers),
    )
