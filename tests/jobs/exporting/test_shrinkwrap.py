"""A specification names all that an image needs of the repository."""

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import NAME, found, published
from tests.support.images import tars
from workers.exporting import (
    specification,
)
from workers.formats.paths import flat_path


def test_a_shrinkwrap_specification_names_link_description_and_tree(
    runner: JobRunner,
) -> None:
    image = published(runner, [[tars.file(b"a", b"1")]])
    link = f"/{runner.reference(NAME)}".encode()
    assert list(specification(runner.repository.read(), found(runner))) == [
        link,
        b"/.metadata" + link + b"/*",
        flat_path(image.config_digest) + b"/*",
    ]
