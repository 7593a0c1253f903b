"""A push is published, or found to be live already."""

import json

import pytest

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import build_image, tar_of
from workers.formats.flat import RECEIPT
from workers.formats.paths import metadata_path
from workers.ledger import Outcome, State
from workers.reference import Reference
from workers.run import assemble

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


def metadata(shop: Workshop, file: bytes, name: str = NAME) -> bytes:
    """Return what the repository has beside a tag."""
    snapshot = shop.repository.read()
    folder = metadata_path(Reference.parse(shop.reference(name)))
    dirent = snapshot.lookup(folder + b"/" + file)
    assert dirent is not None
    return snapshot.read(dirent)


def test_an_image_is_published_with_what_it_is_made_of(shop: Workshop) -> None:
    image = push(shop, FIRST)

    record = shop.publish(NAME)

    assert record.state is State.LIVE
    assert record.digest == record.live_digest == image.digest
    assert (record.repository, record.revision) == (FQRN, shop.revision)
    assert record.path == f"/{shop.reference(NAME)}"
    assert shop.file(NAME, "etc/motd") == b"first"
    assert metadata(shop, b"manifest.json") == image.manifest
    assert metadata(shop, b"config.json") == image.config


def test_an_unchanged_image_is_neither_downloaded_nor_published(shop: Workshop) -> None:
    push(shop, FIRST)
    before = shop.publish(NAME)
    asked = len(shop.registry.seen("GET"))

    shop.want(NAME)
    run = shop.run(NAME)

    assert run.outcome is Outcome.UNCHANGED
    assert len(shop.registry.seen("GET")) == asked
    after = shop.image(NAME)
    assert (after.state, after.since) == (State.LIVE, before.since)
    assert after.revision == before.revision == shop.revision


def test_pushing_two_images_in_turn_publishes_each_time(shop: Workshop) -> None:
    revisions: list[int] = []
    for layers in (FIRST, SECOND, FIRST):
        image = push(shop, layers)
        shop.want(NAME, image.digest)
        assert shop.run(NAME).outcome is Outcome.PUBLISHED
        record = shop.image(NAME)
        assert record.live_digest == image.digest
        revisions.append(record.revision or 0)
    assert shop.file(NAME, "etc/motd") == b"first"
    assert len(set(revisions)) == 3
    assert record.revision == shop.revision == max(revisions)


def test_an_image_that_comes_back_is_not_downloaded_again(shop: Workshop) -> None:
    for layers in (FIRST, SECOND):
        push(shop, layers)
        shop.publish(NAME)
    first = push(shop, FIRST)
    layer = first.layers[0]
    asked = len(shop.registry.seen("GET", "/blobs/"))
    shop.publish(NAME)
    since = shop.registry.seen("GET", "/blobs/")[asked:]
    assert [seen.path.rpartition("/")[2] for seen in since] == [first.config_digest]
    assert layer.diff_id not in str(since)


def test_a_forced_rebuild_converts_what_is_unchanged(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.publish(NAME)
    asked = len(shop.registry.seen("GET", "/blobs/"))
    shop.want(NAME, forced=True)
    run = shop.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert len(shop.registry.seen("GET", "/blobs/")) == asked + 2


def test_an_image_by_an_older_converter_is_converted_again(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(shop, FIRST)
    shop.publish(NAME)
    monkeypatch.setattr(assemble, "CONVERTER", assemble.CONVERTER + 1)
    shop.want(NAME)
    run = shop.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert State.CONVERTING in run.seconds_by_stage
    receipt = json.loads(metadata(shop, RECEIPT))
    assert receipt["converter"] == assemble.CONVERTER


def test_a_changed_rule_makes_an_image_not_unchanged(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.publish(NAME)
    shop.allow(formats="[flat]")
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED


def test_a_run_that_is_overtaken_stops_before_it_publishes(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    before = shop.revision
    shop.when_asked("/blobs/", lambda: (push(shop, SECOND), shop.want(NAME)))

    run = shop.run(NAME)

    assert run.outcome is Outcome.SUPERSEDED
    assert shop.revision == before
    assert shop.image(NAME).state is State.QUEUED
    assert shop.services.front.queue.depth() == 1
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    assert shop.file(NAME, "etc/motd") == b"second"


def test_a_run_completes_after_two_that_were_overtaken(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    shop.when_asked("/blobs/", lambda: shop.want(NAME), times=None)
    outcomes = [shop.run(NAME).outcome for _ in range(3)]
    assert outcomes == [Outcome.SUPERSEDED, Outcome.SUPERSEDED, Outcome.PUBLISHED]
    assert shop.file(NAME, "etc/motd") == b"first"
    assert shop.run(NAME).outcome is Outcome.UNCHANGED


def test_a_tag_that_has_not_moved_yet_is_waited_for(shop: Workshop) -> None:
    push(shop, FIRST)
    second = build_image(SECOND)
    shop.want(NAME, second.digest, age=0)

    def move() -> None:
        shop.registry.hold_image("atlas/analysis", "v1", second)

    shop.when_asked("/manifests/v1", move, method="HEAD")
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    assert shop.image(NAME).live_digest == second.digest


def test_a_tag_that_is_not_there_yet_is_waited_for(shop: Workshop) -> None:
    image = build_image(FIRST)
    shop.want(NAME, None, age=0)

    def appear() -> None:
        shop.registry.hold_image("atlas/analysis", "v1", image)

    shop.when_asked("/manifests/v1", appear, method="HEAD")
    assert shop.run(NAME).outcome is Outcome.PUBLISHED


def test_the_registry_is_right_where_a_hint_is_not(shop: Workshop) -> None:
    image = push(shop, FIRST)
    lie = build_image(SECOND).digest
    shop.want(NAME, lie, age=29.5)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    assert shop.image(NAME).live_digest == image.digest
    assert len(shop.registry.seen("HEAD", "/manifests/v1")) > 1
