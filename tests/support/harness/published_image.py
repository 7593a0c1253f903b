"""One image, published by a real job and found again in the repository."""

from hashlib import sha256

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.oci import Image
from workers.cvmfs import Snapshot
from workers.published.find import PublishedImage, find_image
from workers.reference import Reference

NAME = "atlas/image:v1"


def published(runner: JobRunner, layers: list[list[bytes]]) -> Image:
    """Publish an image of these entries by a real job."""
    packed = [tars.tar(*entries) for entries in layers]
    repository, _, tag = NAME.partition(":")
    image = runner.registry.push_image(repository, tag, packed)
    runner.publish(NAME)
    return image


def found(runner: JobRunner, name: str = NAME) -> PublishedImage:
    reference = Reference.parse(runner.reference(name))
    return find_image(runner.repository.read(), reference)


def stacked_paths(snapshot: Snapshot, image: Image) -> list[bytes]:
    """Return where podman finds the layers of a published image, lowest first."""
    paths, below = [], ""
    for layer in image.layers:
        encoded = layer.diff_id.partition(":")[2]
        below = sha256(f"{below}+{encoded}".encode()).hexdigest() if below else encoded
        paths.append(snapshot.resolve(f"/podmanStore/overlay/{below}/diff".encode()))
    return paths
