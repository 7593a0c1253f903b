"""What is missing is made, and the name points at it in one revision."""

import json

import pytest

from tests.support.harness.jobs import FQRN, Between, Workshop
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import build_image, tar_of
from workers import jobs
from workers.formats.flat import RECEIPT
from workers.formats.paths import metadata_path
from workers.ledger import Outcome, State
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]


def metadata(shop: Workshop, file: bytes, name: str = NAME) -> bytes:
    """Return what the repository has beside a tag."""
    snapshot = shop.repository.read()
    folder = metadata_path(Reference.parse(shop.reference(name)))
    dirent = snapshot.lookup(folder + b"/" + file)
    assert dirent is not None
    return snapshot.read(dirent)


def test_a_damaged_receipt_only_costs_a_publication(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.publish(NAME)
    publisher = shop.services.publishers[FQRN]

    class Garbled(Between):
        def read(self, path: bytes) -> bytes | None:
            return b"[1, 2]" if super().read(path) else None

    shop.replace_publisher(Garbled)
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    assert publisher.read(b"/nowhere") is None


def test_an_index_is_known_by_its_own_digest_and_kept_by_its_platforms(
    shop: Workshop,
) -> None:
    ours, other = (
        build_image(FIRST, platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    )
    index = shop.registry.push_index("atlas/analysis", "v1", [other, ours])

    record = shop.publish(NAME)

    assert record.live_digest == index.digest != ours.digest
    assert metadata(shop, b"manifest.json") == ours.manifest
    assert json.loads(metadata(shop, RECEIPT))["digest"] == index.digest
    shop.want(NAME, index.digest)
    assert shop.run(NAME).outcome is Outcome.UNCHANGED


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("moment", ["before_publish", "after_publish"])
def test_killed_around_the_publication_the_image_goes_live(
    shop: Workshop, moment: str
) -> None:
    image = push(shop, FIRST)
    shop.want(NAME)
    real = shop.services.publishers[FQRN]

    def kill() -> None:
        raise Killed

    shop.replace_publisher(lambda real: Between(real, **{moment: kill}))
    with pytest.raises(Killed):
        jobs.run_job(shop.services, Reference.parse(shop.reference(NAME)))

    shop.replace_publisher(lambda _: real)
    shop.outlive_the_dead()
    run = shop.run(NAME)
    is_in = moment == "after_publish"
    assert run.outcome is (Outcome.UNCHANGED if is_in else Outcome.PUBLISHED)
    record = shop.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, image.digest)
    assert record.revision == shop.revision
