"""Which tags are kept, where a rule keeps the newest ones only."""

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import DAY, MINUTE, NAME, ReconcilerDriver
from workers.ledger import State, orders


def test_of_many_tags_the_newest_stay(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 2, grace: 30d}")
    watch.publish("v1", "v2", "v3", "v4")
    found = watch.found(2 * DAY // MINUTE)
    # Their grace time begins when they are found to be too many.
    assert (found.expired, found.surplus) == ((), ("v1", "v2"))
    watch.publish("v5")
    found = watch.found(30 * DAY // MINUTE)
    assert (found.expired, found.surplus) == (("v1", "v2"), ("v3",))
    assert runner.image(f"{NAME}:v1").state is State.LIVE  # until the job has looked
    assert watch.found().expired == ()  # that is under way
    watch.work("v1", "v2")
    states = {tag: runner.image(f"{NAME}:{tag}").state for tag in ("v1", "v2", "v3")}
    assert states == {"v1": State.REMOVED, "v2": State.REMOVED, "v3": State.LIVE}
    assert runner.file(f"{NAME}:v1", "motd") is None
    last_run = runner.image(f"{NAME}:v1").last_run
    assert last_run is not None
    assert "keeps the newest 2 tags only" in str(last_run.reason)
    # The registry still has them, and that is no push.
    found = watch.found()
    assert (found.pushed, found.expired, found.surplus) == ((), (), ("v3",))


def test_publishing_the_same_again_makes_a_tag_no_newer(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    watch.publish("v1", "v2")
    runner.clock.passes(MINUTE)
    runner.publish(f"{NAME}:v1", forced=True)
    assert watch.found().surplus == ("v1",)


def test_what_was_restored_by_hand_does_not_go(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    watch.publish("v1")
    first = runner.image(f"{NAME}:v1").live_digest
    watch.push("v1", b"second")
    runner.publish(f"{NAME}:v1")
    order = orders.restore(str(first))
    runner.ledger.request(
        runner.reference(f"{NAME}:v1"), source="operator", order=order
    )
    watch.work("v1")
    watch.publish("v2")
    assert watch.found(2 * DAY // MINUTE).surplus == ()


def test_a_rule_that_keeps_more_in_time_lets_nothing_go(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    watch.publish("v1", "v2")
    assert watch.found().surplus == ("v1",)
    runner.allow(watch="{every: 15m}", keep="{newest: 2, grace: 1d}")
    assert watch.found(2 * DAY // MINUTE).surplus == ()
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    found = watch.found()  # its time begins anew
    assert (found.surplus, found.expired) == (("v1",), ())


def test_each_rule_counts_its_own_tags(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    host = runner.registry.host
    runner.write_policy(
        f"""\
version: 1
rules:
  - {{allow: "{host}/**", tags: ["v*"]}}
  - {{allow: "{host}/**", keep: {{newest: 1, grace: 1d}}}}
"""
    )
    watch.publish("v1", "v2", "nightly-1", "nightly-2")
    assert watch.found().surplus == ("nightly-1",)
