"""What is missing is made, and the name points at it in one revision."""

import json

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import build_image, tar_of
from workers import jobs
from workers.formats.documents import RECEIPT
from workers.formats.paths import metadata_path
from workers.ledger import Outcome, State
from workers.publishing.plan import FileAt, Plan
from workers.publishing.publisher import Fence, publish
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]


def metadata(runner: JobRunner, file: bytes, name: str = NAME) -> bytes:
    """Return what the repository has beside a tag."""
    snapshot = runner.repository.read()
    folder = metadata_path(Reference.parse(runner.reference(name)))
    dirent = snapshot.lookup(folder + b"/" + file)
    assert dirent is not None
    return snapshot.read(dirent)


def test_a_damaged_receipt_only_costs_a_publication(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    publisher = runner.services.publishers[FQRN]

    path = metadata_path(Reference.parse(runner.reference(NAME))) + b"/" + RECEIPT
    plan = Plan(NAME, (FileAt(path, b"[1, 2]"),))
    publish(publisher, [plan], Fence(lambda: None))
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_an_index_is_known_by_its_own_digest_and_kept_by_its_platforms(
    runner: JobRunner,
) -> None:
    ours, other = (
        build_image(FIRST, platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    )
    index = runner.registry.push_index("atlas/analysis", "v1", [other, ours])

    record = runner.publish(NAME)

    assert record.live_digest == index.digest != ours.digest
    assert metadata(runner, b"manifest.json") == ours.manifest
    assert json.loads(metadata(runner, RECEIPT))["digest"] == index.digest
    runner.want(NAME, index.digest)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("moment", ["before_publish", "after_publish"])
def test_killed_around_the_publication_the_image_goes_live(
    runner: JobRunner, moment: str
) -> None:
    image = push(runner, FIRST)
    runner.want(NAME)
    real = runner.services.publishers[FQRN]

    def kill() -> None:
        raise Killed

    runner.replace_publisher(lambda real: PublisherWithHooks(real, **{moment: kill}))
    with pytest.raises(Killed):
        jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))

    runner.replace_publisher(lambda _: real)
    runner.expire_leases_and_claims()
    run = runner.run(NAME)
    is_in = moment == "after_publish"
    assert run.outcome is (Outcome.UNCHANGED if is_in else Outcome.PUBLISHED)
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, image.digest)
    assert record.revision == runner.revision
