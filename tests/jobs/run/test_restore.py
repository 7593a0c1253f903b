"""Names that are removed, and brought back to what they led to before."""

import time

import pytest

from tests.support.harness.jobs import FQRN, Between, Workshop
from tests.support.harness.ledger import D3
from tests.support.images.oci import Image, build_image, tar_of
from workers.formats.history import former_path
from workers.formats.layers import layer_path
from workers.formats.paths import (
    FORMER,
    flat_path,
    image_path,
    is_catalog,
    metadata_path,
)
from workers.images.manifest import parse_manifest
from workers.jobs import run_job
from workers.ledger import Outcome, Rebuilder, RunRecord, State, orders
from workers.published.images import published_images
from workers.reference import Reference

NAME, OTHER = "atlas/analysis:v1", "atlas/analysis:v2"
FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]
THIRD = [tar_of({"etc/motd": b"third"})]


def push(shop: Workshop, layers: list[bytes], name: str = NAME) -> Image:
    """Put an image into the registry; nobody is told."""
    repository, _, tag = name.partition(":")
    return shop.registry.push_image(repository, tag, layers)


def publish(shop: Workshop, layers: list[bytes], name: str = NAME) -> Image:
    image = push(shop, layers, name)
    shop.publish(name)
    return image


def order(shop: Workshop, order: str, name: str = NAME) -> None:
    """Ask for something as the operator does."""
    shop.ledger.request(shop.reference(name), source="operator", order=order)


def remove(shop: Workshop, name: str = NAME) -> RunRecord:
    order(shop, orders.REMOVE, name)
    run = shop.run(name)
    assert run.outcome is Outcome.REMOVED, run.reason
    return run


def restore(shop: Workshop, image: Image) -> RunRecord:
    order(shop, orders.restore(image.digest))
    return shop.run(NAME)


def has(shop: Workshop, path: bytes) -> bool:
    return shop.repository.read().lookup(path) is not None


def name_of(shop: Workshop, name: str = NAME) -> Reference:
    return Reference.parse(shop.reference(name))


# Removing.


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


# What was live when.


def test_the_ledger_tells_which_digest_was_live_from_when_on(shop: Workshop) -> None:
    digests, revisions = [], []
    for layers in (FIRST, SECOND):
        shop.clock.passes(10)
        digests.append(publish(shop, layers).digest)
        revisions.append(shop.revision)
        shop.want(NAME)
        shop.run(NAME)  # a look at what is unchanged is no news
    shop.clock.passes(10)
    remove(shop)
    lives = shop.ledger.lives(shop.reference(NAME))
    assert [live.digest for live in lives] == [None, *reversed(digests)]
    assert [live.revision for live in lives[1:]] == revisions[::-1]
    begin = lives[-1].since
    assert [live.since - begin for live in lives] == pytest.approx([20, 10, 0])


# Going back.


def test_what_was_live_before_is_restored_without_a_download(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    asked = len(shop.registry.seen("GET"))

    assert restore(shop, first).outcome is Outcome.PUBLISHED

    assert shop.file(NAME, "etc/motd") == b"first"
    assert len(shop.registry.seen("GET")) == asked
    record = shop.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert (record.digest, record.held) == (second.digest, second.digest)
    assert "restored" in (record.reason or "")


def test_what_the_registry_had_already_does_not_undo_a_restoration(
    shop: Workshop,
) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    restore(shop, first)
    revision = shop.revision
    for digest in (None, second.digest):
        shop.want(NAME, digest)
        assert shop.run(NAME).outcome is Outcome.UNCHANGED
    assert shop.revision == revision
    assert shop.file(NAME, "etc/motd") == b"first"
    record = shop.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert record.held == second.digest


def test_a_really_new_push_replaces_what_was_restored(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    restore(shop, first)
    third = publish(shop, THIRD)
    record = shop.image(NAME)
    assert (record.live_digest, record.held) == (third.digest, None)
    assert record.reason is None
    # Nor does the digest that the restoration stood against stay away for ever.
    publish(shop, SECOND)
    assert shop.file(NAME, "etc/motd") == b"second"


def test_forcing_a_publication_ends_a_restoration(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    restore(shop, first)
    shop.publish(NAME, forced=True)
    assert shop.file(NAME, "etc/motd") == b"second"
    assert shop.image(NAME).live_digest == second.digest


def test_restoring_what_the_registry_has_ends_a_restoration(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    restore(shop, first)
    restore(shop, second)
    record = shop.image(NAME)
    assert (record.live_digest, record.held) == (second.digest, None)
    assert shop.file(NAME, "etc/motd") == b"second"


def test_what_the_registry_has_lost_is_restored_from_the_repository(
    shop: Workshop,
) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    for method in ("GET", "HEAD"):
        shop.registry.fail(method, "/v2/.+", status=404)
    assert restore(shop, first).outcome is Outcome.PUBLISHED
    assert shop.file(NAME, "etc/motd") == b"first"


def test_a_removed_name_comes_back_with_what_it_was(shop: Workshop) -> None:
    image = publish(shop, FIRST)
    remove(shop)
    for method in ("GET", "HEAD"):
        shop.registry.fail(method, "/v2/.+", status=404)
    restore(shop, image)
    assert shop.file(NAME, "etc/motd") == b"first"
    assert has(shop, metadata_path(name_of(shop)) + b"/config.json")
    assert shop.image(NAME).held is None


def test_what_the_repository_does_not_remember_comes_from_the_registry(
    shop: Workshop,
) -> None:
    first = push(shop, FIRST)
    publish(shop, SECOND)
    assert restore(shop, first).outcome is Outcome.PUBLISHED
    assert shop.file(NAME, "etc/motd") == b"first"


def test_what_nobody_has_any_more_is_an_error_that_says_so(shop: Workshop) -> None:
    publish(shop, FIRST)
    order(shop, orders.restore(D3))
    run = shop.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "cannot be restored" in (run.reason or "")
    assert run.next_try is None
    assert shop.file(NAME, "etc/motd") == b"first"
    assert shop.image(NAME).state is State.LIVE


def test_what_is_refused_is_not_restored(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    shop.write_policy(f"version: 1\nrules:\n  - deny: {shop.registry.host}/**\n")
    assert restore(shop, first).outcome is Outcome.REFUSED
    assert shop.file(NAME, "etc/motd") == b"second"


def test_a_rebuilt_ledger_knows_of_a_restoration(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    restore(shop, first)
    shop.services.front.connection.flushall()
    snapshot = shop.repository.read()
    found = published_images(snapshot)
    rebuilder = Rebuilder(shop.services.front.connection, clock=shop.clock)
    dict(rebuilder.rebuild(FQRN, snapshot.revision, found.images))
    record = shop.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert (record.digest, record.held) == (second.digest, second.digest)
    assert not found.unreadable


def test_all_platforms_are_restored(shop: Workshop) -> None:
    shop.allow(platforms="[linux/amd64, linux/arm64]")
    digests = []
    for word in (b"first", b"second"):
        images = [
            build_image([tar_of({"cpu": platform.encode() + word})], platform=platform)
            for platform in ("linux/amd64", "linux/arm64")
        ]
        shop.registry.push_index("atlas/analysis", "v1", images)
        digests.append(shop.publish(NAME).live_digest)
    asked = len(shop.registry.seen("GET"))
    order(shop, orders.restore(str(digests[0])))
    assert shop.run(NAME).outcome is Outcome.PUBLISHED
    assert len(shop.registry.seen("GET")) == asked
    snapshot = shop.repository.read()
    for folder in (b"amd64", b"arm64"):
        path = b"/.multiarch/" + folder + image_path(name_of(shop))
        resolved = snapshot.lookup(path)
        assert resolved is not None
        tree = b"/.flat" + resolved.target.partition(b".flat")[2]
        dirent = snapshot.lookup(tree + b"/cpu")
        assert dirent is not None
        assert snapshot.read(dirent) == b"linux/" + folder + b"first"


def test_what_is_remembered_lies_in_small_catalogs() -> None:
    assert is_catalog(FORMER)
    assert is_catalog(FORMER + b"/registry.example.org/atlas")
    assert not is_catalog(FORMER + b"/registry.example.org/atlas/analysis:v1")
    assert not is_catalog(former_path(Reference.parse("a.b/c:d"), D3))


# Gone upstream.


def delete(shop: Workshop, name: str = NAME) -> None:
    """Delete a tag in the registry, and have it looked for."""
    repository, _, tag = name.partition(":")
    shop.registry.delete_tag(repository, tag)
    order(shop, orders.LOOK, name)


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


def test_what_was_restored_stays_whatever_the_registry_has(shop: Workshop) -> None:
    shop.allow(keep="{grace: 1s}")
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    restore(shop, first)
    delete(shop)
    assert shop.run(NAME).outcome is Outcome.FAILED
    assert shop.image(NAME).gone_since is None
    assert shop.file(NAME, "etc/motd") == b"first"
