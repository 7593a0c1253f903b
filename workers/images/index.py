"""What an index offers: images for platforms, and indexes of such.

Source: image-spec, ``image-index.md``; Docker's manifest list has the same shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from workers.documents.go_json import Struct
from workers.images.manifest import Descriptor, read_descriptor, reading
from workers.images.platforms import Platform
from workers.media_types import INDEX_TYPES, MANIFEST_TYPES


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry of an index that may lead to an image.

    Attributes:
        descriptor: of a manifest, or of an index.
        platform: that it is for, as far as that is said.
    """

    descriptor: Descriptor
    platform: Platform

    @property
    def is_index(self) -> bool:
        """Whether it leads to more entries."""
        return self.descriptor.media_type in INDEX_TYPES

    def below(self, above: Platform) -> Self | None:
        """Return it as an entry of an index that is for a platform itself.

        What it does not say is what the index above says; None where they differ.
        """
        if not self.platform.may_be(above):
            return None
        return replace(self, platform=self.platform.filled(above))


def read_index(raw: bytes) -> Sequence[Offer]:
    """Return what an index offers, in its order.

    Attestations, which lie in an index too, are no offers; nor are images that need a
    feature of an operating system: we know of none what it means.

    Raises:
        ImageRejected: it is no index that we can read.
    """
    with reading():
        document = Struct.parse(raw, "index")
        offers = (_offer(entry) for entry in document.structs("manifests"))
        return [offer for offer in offers if offer is not None]


def _offer(entry: Struct) -> Offer | None:
    descriptor = read_descriptor(entry)
    described = entry.struct("platform")
    platform = Platform.said_in(described)
    if (
        descriptor.media_type not in INDEX_TYPES | MANIFEST_TYPES
        # buildkit's attestations lie in the index beside the images they speak of.
        or "vnd.docker.reference.type" in entry.text_map("annotations")
        or platform.os == "unknown"
        or any(described.texts("os.features"))
    ):
        return None
    return Offer(descriptor, platform)
