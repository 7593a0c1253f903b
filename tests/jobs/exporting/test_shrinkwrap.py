"""A specification names all that an image needs of the repository."""

from tests.support.harness.jobs import Workshop
from tests.support.harness.published_image import NAME, found, published
from tests.support.images import tars
from workers.exporting import (
    specification,
)
from workers.formats.paths import flat_path


def test_a_shrinkwrap_specification_names_link_description_and_tree(
    shop: Workshop,
) -> None:
    image = published(shop, [[tars.file(b"a", b"1")]])
    link = f"/{shop.reference(NAME)}".encode()
    assert list(specification(shop.repository.read(), found(shop))) == [
        link,
        b"/.metadata" + link + b"/*",
        flat_path(image.config_digest) + b"/*",
    ]
