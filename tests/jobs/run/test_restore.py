"""Names that are removed, and brought back to what they led to before."""

import time

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
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


def push(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    """Put an image into the registry; nobody is told."""
    repository, _, tag = name.partition(":")
    return runner.registry.push_image(repository, tag, layers)


def publish(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    image = push(runner, layers, name)
    runner.publish(name)
    return image


def order(runner: JobRunner, order: str, name: str = NAME) -> None:
    """Ask for something as the operator does."""
    runner.ledger.request(runner.reference(name), source="operator", order=order)


def remove(runner: JobRunner, name: str = NAME) -> RunRecord:
    order(runner, orders.REMOVE, name)
    run = runner.run(name)
    assert run.outcome is Outcome.REMOVED, run.reason
    return run


def restore(runner: JobRunner, image: Image) -> RunRecord:
    order(runner, orders.restore(image.digest))
    return runner.run(NAME)


def has(runner: JobRunner, path: bytes) -> bool:
    return runner.repository.read().lookup(path) is not None


def name_of(runner: JobRunner, name: str = NAME) -> Reference:
    return Reference.parse(runner.reference(name))


# Removing.


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


# What was live when.


def test_the_ledger_tells_which_digest_was_live_from_when_on(runner: JobRunner) -> None:
    digests, revisions = [], []
    for layers in (FIRST, SECOND):
        runner.clock.passes(10)
        digests.append(publish(runner, layers).digest)
        revisions.append(runner.revision)
        runner.want(NAME)
        runner.run(NAME)  # a look at what is unchanged is no news
    runner.clock.passes(10)
    remove(runner)
    lives = runner.ledger.lives(runner.reference(NAME))
    assert [live.digest for live in lives] == [None, *reversed(digests)]
    assert [live.revision for live in lives[1:]] == revisions[::-1]
    begin = lives[-1].since
    assert [live.since - begin for live in lives] == pytest.approx([20, 10, 0])


# Going back.


def test_what_was_live_before_is_restored_without_a_download(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    asked = len(runner.registry.seen("GET"))

    assert restore(runner, first).outcome is Outcome.PUBLISHED

    assert runner.file(NAME, "etc/motd") == b"first"
    assert len(runner.registry.seen("GET")) == asked
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert (record.digest, record.held) == (second.digest, second.digest)
    assert "restored" in (record.reason or "")


def test_what_the_registry_had_already_does_not_undo_a_restoration(
    runner: JobRunner,
) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    restore(runner, first)
    revision = runner.revision
    for digest in (None, second.digest):
        runner.want(NAME, digest)
        assert runner.run(NAME).outcome is Outcome.UNCHANGED
    assert runner.revision == revision
    assert runner.file(NAME, "etc/motd") == b"first"
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert record.held == second.digest


def test_a_really_new_push_replaces_what_was_restored(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    restore(runner, first)
    third = publish(runner, THIRD)
    record = runner.image(NAME)
    assert (record.live_digest, record.held) == (third.digest, None)
    assert record.reason is None
    # Nor does the digest that the restoration stood against stay away for ever.
    publish(runner, SECOND)
    assert runner.file(NAME, "etc/motd") == b"second"


def test_forcing_a_publication_ends_a_restoration(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    restore(runner, first)
    runner.publish(NAME, forced=True)
    assert runner.file(NAME, "etc/motd") == b"second"
    assert runner.image(NAME).live_digest == second.digest


def test_restoring_what_the_registry_has_ends_a_restoration(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    restore(runner, first)
    restore(runner, second)
    record = runner.image(NAME)
    assert (record.live_digest, record.held) == (second.digest, None)
    assert runner.file(NAME, "etc/motd") == b"second"


def test_what_the_registry_has_lost_is_restored_from_the_repository(
    runner: JobRunner,
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    for method in ("GET", "HEAD"):
        runner.registry.fail(method, "/v2/.+", status=404)
    assert restore(runner, first).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"first"


def test_a_removed_name_comes_back_with_what_it_was(runner: JobRunner) -> None:
    image = publish(runner, FIRST)
    remove(runner)
    for method in ("GET", "HEAD"):
        runner.registry.fail(method, "/v2/.+", status=404)
    restore(runner, image)
    assert runner.file(NAME, "etc/motd") == b"first"
    assert has(runner, metadata_path(name_of(runner)) + b"/config.json")
    assert runner.image(NAME).held is None


def test_what_the_repository_does_not_remember_comes_from_the_registry(
    runner: JobRunner,
) -> None:
    first = push(runner, FIRST)
    publish(runner, SECOND)
    assert restore(runner, first).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"first"


def test_what_nobody_has_any_more_is_an_error_that_says_so(runner: JobRunner) -> None:
    publish(runner, FIRST)
    order(runner, orders.restore(D3))
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "cannot be restored" in (run.reason or "")
    assert run.next_try is None
    assert runner.file(NAME, "etc/motd") == b"first"
    assert runner.image(NAME).state is State.LIVE


def test_what_is_refused_is_not_restored(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    runner.write_policy(f"version: 1\nrules:\n  - deny: {runner.registry.host}/**\n")
    assert restore(runner, first).outcome is Outcome.REFUSED
    assert runner.file(NAME, "etc/motd") == b"second"


def test_a_rebuilt_ledger_knows_of_a_restoration(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    restore(runner, first)
    runner.services.front.connection.flushall()
    snapshot = runner.repository.read()
    found = published_images(snapshot)
    rebuilder = Rebuilder(runner.services.front.connection, clock=runner.clock)
    dict(rebuilder.rebuild(FQRN, snapshot.revision, found.images))
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert (record.digest, record.held) == (second.digest, second.digest)
    assert not found.unreadable


def test_all_platforms_are_restored(runner: JobRunner) -> None:
    runner.allow(platforms="[linux/amd64, linux/arm64]")
    digests = []
    for word in (b"first", b"second"):
        images = [
            build_image([tar_of({"cpu": platform.encode() + word})], platform=platform)
            for platform in ("linux/amd64", "linux/arm64")
        ]
        runner.registry.push_index("atlas/analysis", "v1", images)
        digests.append(runner.publish(NAME).live_digest)
    asked = len(runner.registry.seen("GET"))
    order(runner, orders.restore(str(digests[0])))
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert len(runner.registry.seen("GET")) == asked
    snapshot = runner.repository.read()
    for folder in (b"amd64", b"arm64"):
        path = b"/.multiarch/" + folder + image_path(name_of(runner))
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


def delete(runner: JobRunner, name: str = NAME) -> None:
    """Delete a tag in the registry, and have it looked for."""
    repository, _, tag = name.partition(":")
    runner.registry.delete_tag(repository, tag)
    order(runner, orders.LOOK, name)


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


def test_what_was_restored_stays_whatever_the_registry_has(runner: JobRunner) -> None:
    runner.allow(keep="{grace: 1s}")
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    restore(runner, first)
    delete(runner)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert runner.image(NAME).gone_since is None
    assert runner.file(NAME, "etc/motd") == b"first"
