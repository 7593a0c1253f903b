"""One image, published by a real job and found again in the repository."""

from tests.support.harness.jobs import Workshop
from tests.support.images import tars
from tests.support.images.oci import Image
from workers.published.find import PublishedImage, find_image
from workers.reference import Reference

NAME = "atlas/image:v1"


def published(shop: Workshop, layers: list[list[bytes]]) -> Image:
    """Publish an image of these entries by a real job."""
    packed = [tars.tar(*entries) for entries in layers]
    repository, _, tag = NAME.partition(":")
    image = shop.registry.push_image(repository, tag, packed)
    shop.publish(NAME)
    return image


def found(shop: Workshop, name: str = NAME) -> PublishedImage:
    reference = Reference.parse(shop.reference(name))
    return find_image(shop.repository.read(), reference)
