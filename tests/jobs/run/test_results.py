"""The ledger is told of a live image what the repository says of it."""

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import tar_of
from workers.formats.documents import MANIFEST
from workers.formats.paths import metadata_path
from workers.ledger import Outcome
from workers.publishing.plan import Plan, RemoveAt
from workers.publishing.publisher import Fence, publish
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]


def test_a_new_image_is_told_with_its_revision_places_and_size(
    runner: JobRunner,
) -> None:
    image = push(runner, FIRST)
    record = runner.publish(NAME)
    assert record.revision == runner.revision
    assert record.places == {"flat": f"/{runner.reference(NAME)}", "layers": "/.layers"}
    assert record.size == sum(len(layer.blob) for layer in image.layers)


def test_what_is_live_unknown_to_the_ledger_is_told_all_the_same(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    before = runner.publish(NAME)
    runner.services.front.connection.flushall()
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED
    after = runner.image(NAME)
    assert (after.revision, after.places, after.size) == (
        runner.revision,
        before.places,
        before.size,
    )


def test_what_has_no_manifest_beside_it_keeps_the_size_that_was_known(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    before = runner.publish(NAME)
    folder = metadata_path(Reference.parse(runner.reference(NAME)))
    lost = Plan("lost", (RemoveAt(folder + b"/" + MANIFEST),))
    publish(runner.services.publishers[FQRN], [lost], Fence(lambda: None))
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED
    after = runner.image(NAME)
    assert (after.places, after.size) == (before.places, before.size)
