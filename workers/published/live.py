"""What is known of a live image besides its name: place, size, how it was made.

A run tells it to the ledger, and a ledger that is rebuilt learns the same.
"""

from workers.formats.formats import shown
from workers.formats.receipt import Receipt
from workers.images.manifest import ImageManifest
from workers.ledger import LiveImage
from workers.reference import Reference


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
        places = shown(reference, receipt, lambda: None)
        return LiveImage(places, notes=receipt.notes, converter=receipt.converter)
    return LiveImage(
        shown(reference, receipt, lambda: manifest.config.digest),
        sum(layer.size for layer in manifest.layers),
        receipt.notes,
        receipt.converter,
    )
