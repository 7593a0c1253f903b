"""Names that are removed, by hand or because they are gone upstream."""

import time

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.harness.steering import (
    NAME,
    delete,
    has,
    name_of,
    order,
    publish,
    push,
    remove,
)
from tests.support.images.oci import build_image, tar_of
from workers.formats.paths import flat_path, image_path, layer_path, metadata_path
from workers.images.manifest import parse_manifest
from workers.jobs import run_job
from workers.ledger import Outcome, State, orders

OTHER = "atlas/analysis:v2"
FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


def test_a_removed_name_is_gone_with_what_is_said_of_it_in_one_revision(
    runner: JobRunner,
) -> None:
    image = publish(runner, FIRST)
    before = runner.revision

    run = remove(runner)

    assert runner.revision == before + 1
    assert not has(runner, image_path(name_of(runner)))
    assert not has(runner, metadata_path(name_of(runner)))
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.REMOVED, None)
    assert run.digest == image.digest


def test_removing_a_name_leaves_the_trees_that_others_lead_to(
    runner: JobRunner,
) -> None:
    image = publish(runner, FIRST)
    publish(runner, FIRST, OTHER)

    remove(runner)

    assert runner.file(OTHER, "etc/motd") == b"first"
    assert has(runner, flat_path(image.config_digest))
    (layer,) = parse_manifest(image.manifest).layers
    assert has(runner, layer_path(layer.digest))


def test_the_names_of_all_platforms_go(runner: JobRunner) -> None:
    runner.allow(platforms="[linux/amd64, linux/arm64]")
    images = [
        build_image([tar_of({"cpu": platform.encode()})], platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    ]
    runner.registry.push_index("atlas/analysis", "v1", images)
    runner.publish(NAME)
    path = image_path(name_of(runner))
    places = [
        above + b"/.multiarch/" + folder + path
        for above in (b"", b"/.metadata")
        for folder in (b"amd64", b"arm64")
    ]
    assert all(has(runner, place) for place in places)

    remove(runner)

    assert not any(has(runner, place) for place in [*places, path])


def test_removing_again_changes_nothing(runner: JobRunner) -> None:
    publish(runner, FIRST)
    remove(runner)
    revision = runner.revision
    remove(runner)
    assert runner.revision == revision
    assert runner.image(NAME).state is State.REMOVED


def test_a_name_that_was_never_live_is_forgotten(runner: JobRunner) -> None:
    runner.want("atlas/mistyped:v1")
    runner.run("atlas/mistyped:v1")
    assert runner.image("atlas/mistyped:v1").state is State.FAILED

    order(runner, orders.REMOVE, "atlas/mistyped:v1")
    run_job(runner.services, name_of(runner, "atlas/mistyped:v1"))

    assert runner.ledger.image(runner.reference("atlas/mistyped:v1")) is None
    assert runner.ledger.images().total == 0
    assert runner.ledger.next_due() is None


def test_what_the_policy_denies_by_now_can_be_removed(runner: JobRunner) -> None:
    publish(runner, FIRST)
    runner.write_policy(f"version: 1\nrules:\n  - deny: {runner.registry.host}/**\n")
    remove(runner)
    assert not has(runner, image_path(name_of(runner)))


def test_a_push_after_a_removal_publishes_again(runner: JobRunner) -> None:
    publish(runner, FIRST)
    order(runner, orders.REMOVE)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED
    remove(runner)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).state is State.LIVE
    assert runner.file(NAME, "etc/motd") == b"first"


def test_a_removal_during_a_run_takes_effect_after_it(runner: JobRunner) -> None:
    publish(runner, FIRST)
    push(runner, SECOND)
    between = PublisherWithHooks(
        runner.services.publishers[FQRN],
        after_publish=lambda: order(runner, orders.REMOVE),
    )
    runner.replace_publisher(lambda _: between)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    runner.replace_publisher(lambda _: between._publisher)
    assert runner.image(NAME).requested > runner.image(NAME).done
    assert runner.run(NAME).outcome is Outcome.REMOVED
    assert not has(runner, image_path(name_of(runner)))


def test_a_run_that_a_removal_overtakes_publishes_nothing(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.when_registry_is_asked("/blobs/", lambda: order(runner, orders.REMOVE))
    assert runner.run(NAME).outcome is Outcome.SUPERSEDED
    order(runner, orders.REMOVE, OTHER)
    run_job(runner.services, name_of(runner))
    assert not has(runner, image_path(name_of(runner)))


def long_ago(runner: JobRunner) -> None:
    """Have it found gone two days ago."""
    key = f"cvmfs-webhook:image:{runner.reference(NAME)}"
    then = time.time() - 2 * 86400
    runner.services.front.connection.hset(key, "gone_since", str(then))
    runner.wait_for_next_try(NAME)


def test_what_is_gone_upstream_stays_for_its_grace_time_and_then_goes(
    runner: JobRunner,
) -> None:
    runner.allow(keep="{grace: 1d}")
    image = publish(runner, FIRST)
    delete(runner)

    run = runner.run(NAME)

    assert "removed on 2" in (run.reason or "")
    record = runner.image(NAME)
    assert record.gone_since is not None
    assert record.next_try == pytest.approx(record.gone_since + 86400, abs=5)
    assert runner.file(NAME, "etc/motd") == b"first"

    long_ago(runner)
    assert runner.run(NAME).outcome is Outcome.REMOVED
    assert not has(runner, image_path(name_of(runner)))
    assert runner.image(NAME).state is State.REMOVED
    assert runner.ledger.lives(runner.reference(NAME))[1].digest == image.digest
    assert runner.ledger.next_due() is None


def test_what_comes_back_within_the_grace_time_stays(runner: JobRunner) -> None:
    runner.allow(keep="{grace: 1d}")
    publish(runner, FIRST)
    delete(runner)
    runner.run(NAME)
    push(runner, FIRST)
    long_ago(runner)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED
    record = runner.image(NAME)
    assert (record.state, record.gone_since) == (State.LIVE, None)
    assert runner.file(NAME, "etc/motd") == b"first"


def test_without_keep_nothing_that_is_gone_upstream_goes(runner: JobRunner) -> None:
    publish(runner, FIRST)
    delete(runner)
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert run.next_try is None
    assert runner.file(NAME, "etc/motd") == b"first"
    assert runner.image(NAME).gone_since is None


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_registry_that_does_not_list_its_tags_removes_nothing(
    runner: JobRunner, status: int
) -> None:
    runner.allow(keep="{grace: 1s}")
    publish(runner, FIRST)
    delete(runner)
    runner.registry.fail("GET", "/tags/list", status=status)
    assert runner.run(NAME).outcome is Outcome.FAILED
    key = f"cvmfs-webhook:image:{runner.reference(NAME)}"
    runner.services.front.connection.hset(key, "gone_since", "1")
    order(runner, orders.LOOK)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert runner.file(NAME, "etc/motd") == b"first"


def test_a_tag_that_is_listed_is_not_gone(runner: JobRunner) -> None:
    runner.allow(keep="{grace: 1s}")
    publish(runner, FIRST)
    for method in ("GET", "HEAD"):
        runner.registry.fail(method, "/manifests/", status=404)
    order(runner, orders.LOOK)
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "lists the tag" in (run.reason or "")
    assert run.next_try is not None
    assert runner.image(NAME).gone_since is None
