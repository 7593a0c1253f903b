"""A push is published, or found to be live already."""

import json
from itertools import cycle

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.ledger import D1, D2
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import build_image, tar_of
from webhook.intake.intake import Intake
from webhook.senders.event import PushEvent
from webhook.web.image_json import image_json
from workers.formats import flat, flat_record, receipt
from workers.formats.documents import RECEIPT
from workers.formats.paths import metadata_path
from workers.ledger import Outcome, State, orders
from workers.reference import Reference
from workers.run import assemble

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


def metadata(runner: JobRunner, file: bytes, name: str = NAME) -> bytes:
    """Return what the repository has beside a tag."""
    snapshot = runner.repository.read()
    folder = metadata_path(Reference.parse(runner.reference(name)))
    dirent = snapshot.lookup(folder + b"/" + file)
    assert dirent is not None
    return snapshot.read(dirent)


def test_an_image_is_published_with_what_it_is_made_of(runner: JobRunner) -> None:
    image = push(runner, FIRST)

    record = runner.publish(NAME)

    assert record.state is State.LIVE
    assert record.digest == record.live_digest == image.digest
    assert (record.repository, record.revision) == (FQRN, runner.revision)
    assert record.places["flat"] == f"/{runner.reference(NAME)}"
    assert runner.file(NAME, "etc/motd") == b"first"
    assert metadata(runner, b"manifest.json") == image.manifest
    assert metadata(runner, b"config.json") == image.config


def test_an_unchanged_image_is_neither_downloaded_nor_published(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    before = runner.publish(NAME)
    asked = len(runner.registry.seen("GET"))

    runner.want(NAME)
    run = runner.run(NAME)

    assert run.outcome is Outcome.UNCHANGED
    assert len(runner.registry.seen("GET")) == asked
    after = runner.image(NAME)
    assert (after.state, after.since) == (State.LIVE, before.since)
    assert after.revision == before.revision == runner.revision


def test_pushing_two_images_in_turn_publishes_each_time(runner: JobRunner) -> None:
    revisions: list[int] = []
    for layers in (FIRST, SECOND, FIRST):
        image = push(runner, layers)
        runner.want(NAME, image.digest)
        assert runner.run(NAME).outcome is Outcome.PUBLISHED
        record = runner.image(NAME)
        assert record.live_digest == image.digest
        revisions.append(record.revision or 0)
    assert runner.file(NAME, "etc/motd") == b"first"
    assert len(set(revisions)) == 3
    assert record.revision == runner.revision == max(revisions)


def test_an_image_that_comes_back_is_not_downloaded_again(runner: JobRunner) -> None:
    for layers in (FIRST, SECOND):
        push(runner, layers)
        runner.publish(NAME)
    first = push(runner, FIRST)
    layer = first.layers[0]
    asked = len(runner.registry.seen("GET", "/blobs/"))
    runner.publish(NAME)
    since = runner.registry.seen("GET", "/blobs/")[asked:]
    assert [seen.path.rpartition("/")[2] for seen in since] == [first.config_digest]
    assert layer.diff_id not in str(since)


def test_a_forced_rebuild_converts_what_is_unchanged(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    asked = len(runner.registry.seen("GET", "/blobs/"))
    runner.want(NAME, forced=True)
    run = runner.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert len(runner.registry.seen("GET", "/blobs/")) == asked + 2


def test_an_image_by_an_older_converter_is_converted_again(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    newer = receipt.CONVERTER + 1
    for module in (assemble, flat, flat_record):
        monkeypatch.setattr(module, "CONVERTER", newer)
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert State.CONVERTING in run.seconds_by_stage
    assert json.loads(metadata(runner, RECEIPT))["converter"] == newer
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED


def test_a_changed_rule_makes_an_image_not_unchanged(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    runner.allow(formats="[flat]")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_run_that_is_overtaken_stops_before_it_publishes(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    before = runner.revision
    runner.when_registry_is_asked(
        "/blobs/", lambda: (push(runner, SECOND), runner.want(NAME))
    )

    run = runner.run(NAME)

    assert run.outcome is Outcome.SUPERSEDED
    assert runner.revision == before
    assert runner.image(NAME).state is State.QUEUED
    assert runner.services.front.queue.depth() == 1
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"second"


def test_a_run_completes_after_two_that_were_overtaken(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    digests = cycle([D1, D2])
    runner.when_registry_is_asked(
        "/blobs/", lambda: runner.want(NAME, next(digests)), times=None
    )
    outcomes = [runner.run(NAME).outcome for _ in range(3)]
    assert outcomes == [Outcome.SUPERSEDED, Outcome.SUPERSEDED, Outcome.PUBLISHED]
    assert runner.file(NAME, "etc/motd") == b"first"
    assert runner.run(NAME).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("is_said", [True, False], ids=["digest", "no digest"])
def test_who_asks_again_for_what_is_being_converted_joins_that_run(
    runner: JobRunner, *, is_said: bool
) -> None:
    image = push(runner, FIRST)
    runner.want(NAME)
    digest = image.digest if is_said else None
    runner.when_registry_is_asked("/blobs/", lambda: runner.want(NAME, digest))
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    record = runner.image(NAME)
    assert (record.state, record.requested, record.done) == (State.LIVE, 2, 2)
    assert runner.services.front.queue.depth() == 0


def test_what_is_asked_for_without_a_digest_is_looked_at_afterwards_if_need_be(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)

    def ask() -> None:
        runner.registry.fail("HEAD", "/manifests/v1", status=502)
        runner.want(NAME)

    runner.when_registry_is_asked("/blobs/", ask)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).is_owed


def test_who_wants_a_rebuild_stops_what_is_under_way(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    runner.want(NAME)
    runner.when_registry_is_asked(
        "/blobs/", lambda: runner.want(NAME, image.digest, forced=True)
    )
    assert runner.run(NAME).outcome is Outcome.SUPERSEDED
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_tag_that_has_not_moved_yet_is_waited_for(runner: JobRunner) -> None:
    push(runner, FIRST)
    second = build_image(SECOND)
    runner.want(NAME, second.digest, age=0)

    def move() -> None:
        runner.registry.hold_image("atlas/analysis", "v1", second)

    runner.when_registry_is_asked("/manifests/v1", move, method="HEAD")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).live_digest == second.digest


@pytest.mark.parametrize("hours", [-0.01, 9])
def test_a_registry_whose_clock_is_wrong_is_waited_for_like_any_other(
    runner: JobRunner, hours: float
) -> None:
    push(runner, FIRST)
    second = build_image(SECOND)
    services = runner.services
    intake = Intake(
        runner.ledger, services.front.queue, services.policy, durability=lambda: None
    )
    sent = runner.clock() + hours * 3600
    host = runner.registry.host
    event = PushEvent(host, "atlas/analysis", "v1", second.digest, time=sent)
    assert intake.receive("local", [event]).is_queued

    def move() -> None:
        runner.registry.hold_image("atlas/analysis", "v1", second)

    runner.when_registry_is_asked("/manifests/v1", move, method="HEAD")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).live_digest == second.digest


def test_a_tag_that_is_not_there_yet_is_waited_for(runner: JobRunner) -> None:
    image = build_image(FIRST)
    runner.want(NAME, None, age=0)

    def appear() -> None:
        runner.registry.hold_image("atlas/analysis", "v1", image)

    runner.when_registry_is_asked("/manifests/v1", appear, method="HEAD")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_the_registry_is_right_where_a_hint_is_not(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    lie = build_image(SECOND).digest
    runner.want(NAME, lie, age=29.5)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).live_digest == image.digest
    assert len(runner.registry.seen("HEAD", "/manifests/v1")) > 1


def test_the_size_in_the_registry_is_known_of_what_is_live(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    sizes = sum(len(layer.blob) for layer in image.layers)
    assert runner.publish(NAME).size == sizes
    assert image_json(runner.image(NAME), {})["size"] == sizes
    runner.ledger.request(runner.reference(NAME), source="x", order=orders.REMOVE)
    runner.run(NAME)
    assert runner.image(NAME).size is None
