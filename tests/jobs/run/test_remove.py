"""Names that are removed, by hand or because they are gone upstream."""

import time

import pytest

from tests.support.harness.jobs import FQRN, Between, Workshop
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
from workers.formats.layers import layer_path
from workers.formats.paths import flat_path, image_path, metadata_path
from workers.images.manifest import parse_manifest
from workers.jobs import run_job
from workers.ledger import Outcome, State, orders

OTHER = "atlas/analysis:v2"
FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


def test_a_removed_name_is_gone_with_what_is_said_of_it_in_one_revision(
    shop: Workshop,
) -> None:
    image = publish(shop, FIRST)
    before = shop.revision

    run = remove(shop)

    assert shop.revision == before + 1
    assert not has(shop, image_path(name_of(shop)))
    assert not has(shop, metadata_path(name_of(shop)))
    record = shop.image(NAME)
    assert (record.state, record.live_digest) == (State.REMOVED, None)
    assert run.digest == image.digest


def test_removing_a_name_leaves_the_trees_that_others_lead_to(shop: Workshop) -> None:
    image = publish(shop, FIRST)
    publish(shop, FIRST, OTHER)

    remove(shop)

    assert shop.file(OTHER, "etc/motd") == b"first"
    assert has(shop, flat_path(image.config_digest))
    (layer,) = parse_manifest(image.manifest).layers
    assert has(shop, layer_path(layer.digest))


def test_the_names_of_all_platforms_go(shop: Workshop) -> None:
    shop.allow(platforms="[linux/amd64, linux/arm64]")
    images = [
        build_image([tar_of({"cpu": platform.encode()})], platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    ]
    shop.registry.push_index("atlas/analysis", "v1", images)
    shop.publish(NAME)
    path = image_path(name_of(shop))
    places = [
        above + b"/.multiarch/" + folder + path
        for above in (b"", b"/.metadata")
        for folder in (b"amd64", b"arm64")
    ]
    assert all(has(shop, place) for place in places)

    remove(shop)

    assert not any(has(shop, place) for place in [*places, path])


def test_removing_again_changes_nothing(shop: Workshop) -> None:
    publish(shop, FIRST)
    remove(shop)
    revision = shop.revision
    remove(shop)
    assert shop.revision == revision
    assert shop.image(NAME).state is State.REMOVED


def test_a_name_that_was_never_live_is_forgotten(shop: Workshop) -> None:
    shop.want("atlas/mistyped:v1")
    shop.run("atlas/mistyped:v1")
    assert shop.image("atlas/mistyped:v1").state is State.FAILED

    order(shop, orders.REMOVE, "atlas/mistyped:v1")
    run_job(shop.services, name_of(shop, "atlas/mistyped:v1"))

    assert shop.ledger.image(shop.reference("atlas/mistyped:v1")) is None
    assert shop.ledger.images().total == 0
    assert shop.ledger.next_due() is None


def test_what_the_policy_denies_by_now_can_be_removed(shop: Workshop) -> None:
    publish(shop, FIRST)
    shop.write_policy(f"version: 1\nrules:\n  - deny: {shop.registry.host}/**\n")
    remove(shop)
    assert not has(shop, image_path(name_of(shop)))


def test_a_push_after_a_removal_publishes_again(shop: Workshop) -> None:
    publish(shop, FIRST)
    order(shop, orders.REMOVE)
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.UNCHANGED
    remove(shop)
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    assert shop.image(NAME).state is State.LIVE
    assert shop.file(NAME, "etc/motd") == b"first"


def test_a_removal_during_a_run_takes_effect_after_it(shop: Workshop) -> None:
    publish(shop, FIRST)
    push(shop, SECOND)
    between = Between(
        shop.services.publishers[FQRN],
        after_publish=lambda: order(shop, orders.REMOVE),
    )
    shop.replace_publisher(lambda _: between)
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    shop.replace_publisher(lambda _: between._publisher)
    assert shop.image(NAME).requested > shop.image(NAME).done
    assert shop.run(NAME).outcome is Outcome.REMOVED
    assert not has(shop, image_path(name_of(shop)))


def test_a_run_that_a_removal_overtakes_publishes_nothing(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    shop.when_asked("/blobs/", lambda: order(shop, orders.REMOVE))
    assert shop.run(NAME).outcome is Outcome.SUPERSEDED
    order(shop, orders.REMOVE, OTHER)
    run_job(shop.services, name_of(shop))
    assert not has(shop, image_path(name_of(shop)))


def long_ago(shop: Workshop) -> None:
    """Have it found gone two days ago."""
    key = f"cvmfs-webhook:image:{shop.reference(NAME)}"
    then = time.time() - 2 * 86400
    shop.services.front.connection.hset(key, "gone_since", str(then))
    shop.wait_for_next_try(NAME)


def test_what_is_gone_upstream_stays_for_its_grace_time_and_then_goes(
    shop: Workshop,
) -> None:
    shop.allow(keep="{grace: 1d}")
    image = publish(shop, FIRST)
    delete(shop)

    run = shop.run(NAME)

    assert "removed on 2" in (run.reason or "")
    record = shop.image(NAME)
    assert record.gone_since is not None
    assert record.next_try == pytest.approx(record.gone_since + 86400, abs=5)
    assert shop.file(NAME, "etc/motd") == b"first"

    long_ago(shop)
    assert shop.run(NAME).outcome is Outcome.REMOVED
    assert not has(shop, image_path(name_of(shop)))
    assert shop.image(NAME).state is State.REMOVED
    assert shop.ledger.lives(shop.reference(NAME))[1].digest == image.digest
    assert shop.ledger.next_due() is None


def test_what_comes_back_within_the_grace_time_stays(shop: Workshop) -> None:
    shop.allow(keep="{grace: 1d}")
    publish(shop, FIRST)
    delete(shop)
    shop.run(NAME)
    push(shop, FIRST)
    long_ago(shop)
    assert shop.run(NAME).outcome is Outcome.UNCHANGED
    record = shop.image(NAME)
    assert (record.state, record.gone_since) == (State.LIVE, None)
    assert shop.file(NAME, "etc/motd") == b"first"


def test_without_keep_nothing_that_is_gone_upstream_goes(shop: Workshop) -> None:
    publish(shop, FIRST)
    delete(shop)
    run = shop.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert run.next_try is None
    assert shop.file(NAME, "etc/motd") == b"first"
    assert shop.image(NAME).gone_since is None


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_registry_that_does_not_list_its_tags_removes_nothing(
    shop: Workshop, status: int
) -> None:
    shop.allow(keep="{grace: 1s}")
    publish(shop, FIRST)
    delete(shop)
    shop.registry.fail("GET", "/tags/list", status=status)
    assert shop.run(NAME).outcome is Outcome.FAILED
    key = f"cvmfs-webhook:image:{shop.reference(NAME)}"
    shop.services.front.connection.hset(key, "gone_since", "1")
    order(shop, orders.LOOK)
    assert shop.run(NAME).outcome is Outcome.FAILED
    assert shop.file(NAME, "etc/motd") == b"first"


def test_a_tag_that_is_listed_is_not_gone(shop: Workshop) -> None:
    shop.allow(keep="{grace: 1s}")
    publish(shop, FIRST)
    for method in ("GET", "HEAD"):
        shop.registry.fail(method, "/manifests/", status=404)
    order(shop, orders.LOOK)
    run = shop.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "lists the tag" in (run.reason or "")
    assert run.next_try is not None
    assert shop.image(NAME).gone_since is None
