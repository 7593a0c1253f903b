"""What differs between registry and ledger, and what of it is acted on."""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import NAME, ReconcilerDriver
from tests.support.images.oci import build_image, tar_of
from tests.support.registries.misbehaving_server import Reply
from workers.ledger import Outcome, RunResult, State


def test_what_comes_to_nothing_is_not_asked_for_at_each_look(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.registry.has_catalog = True
    runner.allow(watch="{every: 15m, existing: all}", to="nowhere.example.org")
    watch.push("v1")
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    assert "nowhere.example.org" in str(runner.image(f"{NAME}:v1").reason)
    assert watch.found().pushed == ()
    assert watch.found(6 * 60).pushed == ("v1",)


def test_a_job_that_was_given_up_for_trouble_is_tried_again_after_hours(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    image = watch.push("v1", b"second")
    runner.registry.fail("GET", "/manifests/", status=503, times=10)
    runner.want(f"{NAME}:v1", image.digest)
    for _ in range(10):
        run = runner.run(f"{NAME}:v1")
        if run.next_try is not None:
            runner.wait_for_next_try(f"{NAME}:v1")
    assert "given up after 10" in str(run.reason)
    assert watch.found(60).pushed == ()
    assert watch.found(6 * 60).pushed == ("v1",)


def test_what_failed_for_its_own_sake_is_not_tried_again(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    image = runner.registry.push_image(NAME, "bad", [b"no tar"])
    runner.want(f"{NAME}:bad", image.digest)
    assert runner.run(f"{NAME}:bad").outcome is Outcome.FAILED
    assert watch.found(7 * 60).pushed == ()


def test_what_was_refused_is_looked_at_again_as_it_may_be_public_by_now(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    runner.registry.make_private(NAME)
    watch.push("v2")
    runner.want(f"{NAME}:v2")
    assert runner.run(f"{NAME}:v2").outcome is Outcome.REFUSED
    runner.registry.make_public(NAME)
    assert watch.found().pushed == ()
    runner.clock.passes(6 * 3600)
    assert watch.found().pushed == ("v2",)
    assert runner.run(f"{NAME}:v2").outcome is Outcome.PUBLISHED


def test_what_is_gone_upstream_goes_although_nobody_told_us(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{grace: 30d}")
    watch.publish("v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    record = runner.image(f"{NAME}:v1")
    assert record.gone_since is not None
    assert "removed on" in str(record.reason)
    assert watch.found().deleted == ()  # its time is running
    runner.services.front.connection.hset(
        f"cvmfs-webhook:image:{record.reference}", "gone_since", "1"
    )
    runner.wait_for_next_try(f"{NAME}:v1")
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").state is State.REMOVED
    assert runner.image(f"{NAME}:v2").state is State.LIVE


def gone(
    runner: JobRunner, watch: ReconcilerDriver, since: float | None = None
) -> None:
    """Let v1 have been deleted in the registry, and its grace time run."""
    runner.allow(watch="{every: 15m}", keep="{grace: 30d}")
    watch.publish("v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    if since is not None:
        key = f"cvmfs-webhook:image:{runner.reference(f'{NAME}:v1')}"
        runner.services.front.connection.hset(key, "gone_since", str(since))


def test_what_comes_back_within_its_grace_time_is_published(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    gone(runner, watch)
    image = watch.push("v1", b"second")
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    record = runner.image(f"{NAME}:v1")
    assert (record.live_digest, record.gone_since) == (image.digest, None)


@pytest.mark.parametrize("more", ["watch: {every: 15m}, ", ""])
def test_what_is_gone_a_second_time_has_all_of_its_grace_time_again(
    runner: JobRunner, watch: ReconcilerDriver, more: str
) -> None:
    gone(runner, watch, since=1.0)
    rule = f'{{allow: "{runner.registry.host}/**", {more}keep: {{grace: 30d}}}}'
    runner.write_policy(f"version: 1\nrules: [{rule}]\n")
    watch.push("v1", b"v1")
    assert watch.found(60).pushed == ("v1",)
    watch.work("v1")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found(60).deleted == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest is not None


def test_one_bad_answer_when_it_is_to_go_only_puts_that_off(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    gone(runner, watch, since=1.0)
    runner.wait_for_next_try(f"{NAME}:v1")
    runner.registry.fail("GET", "/tags/list", status=403, times=1)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest is not None
    runner.wait_for_next_try(f"{NAME}:v1")
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").state is State.REMOVED


def test_a_registry_that_contradicts_itself_is_not_asked_at_each_look(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{grace: 30d}")
    watch.publish("v1", "v2")

    def hide(_path: str, reply: Reply) -> Reply:
        return Reply(200, reply.headers, b'{"tags": ["v2"]}')

    runner.registry.spoil("GET", "/tags/list", hide, times=None)
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").state is State.LIVE
    assert watch.found().deleted == ()
    assert watch.found(6 * 60).deleted == ("v1",)


def test_without_keep_what_is_gone_upstream_stays(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ()


def test_what_is_published_during_a_look_is_not_taken_for_what_was_there_before(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.push("v1", b"second")
    moved = build_image([tar_of({"motd": b"third"})])

    def meanwhile() -> None:
        runner.registry.hold_image(NAME, "v1", moved)
        runner.want(f"{NAME}:v1", moved.digest)
        lease = runner.ledger.begin(runner.reference(f"{NAME}:v1"), worker="another")
        assert lease is not None
        runner.ledger.finish(lease, RunResult(Outcome.PUBLISHED, digest=moved.digest))

    runner.when_registry_is_asked("/manifests/v1", meanwhile, method="HEAD")
    assert watch.found().pushed == ()
    assert watch.found().pushed == ()
    record = runner.image(f"{NAME}:v1")
    assert (record.state, record.live_digest) == (State.LIVE, moved.digest)
