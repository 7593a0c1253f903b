"""Names that are removed, and brought back to what they led to before."""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.ledger import D3
from tests.support.harness.steering import (
    NAME,
    delete,
    has,
    name_of,
    order,
    publish,
    remove,
    restore,
)
from tests.support.images.oci import build_image, tar_of
from workers.formats.documents import read_receipt
from workers.formats.paths import (
    image_path,
    metadata_path,
)
from workers.ledger import Outcome, State, orders

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]
THIRD = [tar_of({"etc/motd": b"third"})]


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
    assert (record.digest, record.restored_instead_of) == (second.digest, second.digest)
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
    assert record.restored_instead_of == second.digest


def test_a_really_new_push_replaces_what_was_restored(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    restore(runner, first)
    third = publish(runner, THIRD)
    record = runner.image(NAME)
    assert (record.live_digest, record.restored_instead_of) == (third.digest, None)
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
    assert (record.live_digest, record.restored_instead_of) == (second.digest, None)
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


def test_nothing_that_others_write_into_redis_is_published_as_it_is(
    runner: JobRunner,
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    revision = runner.revision
    for digest in ("latest", f"x:{first.digest[7:]}", "../../other/manifests/latest"):
        order(runner, f"restore {digest}")
        run = runner.run(NAME)
        assert run.outcome is Outcome.FAILED
        assert "is not valid" in (run.reason or "")
    assert runner.revision == revision
    for method in ("GET", "HEAD"):
        runner.registry.fail(method, "/v2/.+", status=404)
    key = f"cvmfs-webhook:image:{runner.reference(NAME)}"
    runner.services.front.connection.hset(key, "digest", "<script>")
    assert restore(runner, first).outcome is Outcome.PUBLISHED
    receipt = read_receipt(runner.repository.read(), name_of(runner))
    assert receipt.digest == first.digest
    assert b"script" not in receipt.document()


def test_a_removed_name_comes_back_with_what_it_was(runner: JobRunner) -> None:
    image = publish(runner, FIRST)
    remove(runner)
    for method in ("GET", "HEAD"):
        runner.registry.fail(method, "/v2/.+", status=404)
    restore(runner, image)
    assert runner.file(NAME, "etc/motd") == b"first"
    assert has(runner, metadata_path(name_of(runner)) + b"/config.json")
    assert runner.image(NAME).restored_instead_of is None


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


def test_what_its_author_did_not_offer_is_not_restored_either(
    runner: JobRunner,
) -> None:
    runner.allow(require_label='{org.cvmfs.publish: "true"}')
    offered = {"config": {"Labels": {"org.cvmfs.publish": "true"}}}
    runner.registry.push_image("atlas/analysis", "v1", FIRST, config=offered)
    runner.publish(NAME)
    never_live = runner.registry.push_image("atlas/analysis", "draft", SECOND)
    run = restore(runner, never_live)
    assert run.outcome is Outcome.REFUSED
    assert "LABEL org.cvmfs.publish" in (run.reason or "")
    assert runner.file(NAME, "etc/motd") == b"first"


def test_what_only_we_can_read_is_not_restored_though_its_layers_are_there(
    runner: JobRunner,
) -> None:
    image = publish(runner, FIRST)
    hidden = build_image(FIRST, manifest={"annotations": {"a": "secret"}})
    assert hidden.digest != image.digest
    runner.registry.hold_image("atlas/analysis", "draft", hidden)
    runner.registry.make_private("atlas/analysis")
    assert restore(runner, hidden).outcome is Outcome.REFUSED


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


# Gone upstream.


def test_what_was_restored_stays_whatever_the_registry_has(runner: JobRunner) -> None:
    runner.allow(keep="{grace: 1s}")
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    restore(runner, first)
    delete(runner)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert runner.image(NAME).gone_since is None
    assert runner.file(NAME, "etc/motd") == b"first"
