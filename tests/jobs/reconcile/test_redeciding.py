"""Whoever allows a namespace has nothing else to do."""

from collections.abc import Sequence

import pytest

from tests.support.harness.image_commands import command
from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import tar_of
from webhook.intake.intake import Intake
from webhook.reconcile import redeciding
from webhook.reconcile.redeciding import Redeciding
from webhook.senders.event import PushEvent
from workers.ledger import Outcome, State, TurnedAway

NAME = "atlas/analysis"
NONE = "version: 1\nrules: []\n"


def decider(runner: JobRunner) -> Redeciding:
    front, policy = runner.services.front, runner.services.policy
    turned_away = TurnedAway(front.connection)
    return Redeciding(runner.ledger, turned_away, front.queue, policy)


def notify(runner: JobRunner, *tags: str) -> None:
    """Push, and tell it as a sender does."""
    services = runner.services
    intake = Intake(
        runner.ledger,
        services.front.queue,
        services.policy,
        durability=lambda: None,
        clock=runner.clock,
    )
    for tag in tags:
        runner.registry.push_image(NAME, tag, [tar_of({"tag": tag.encode()})])
        runner.clock.passes(1)
        event = PushEvent(runner.registry.host, NAME, tag)
        intake.receive("local", [event])


def names(runner: JobRunner, *tags: str) -> Sequence[str]:
    return [runner.reference(f"{NAME}:{tag}") for tag in tags]


def test_what_was_refused_is_asked_for_once_it_is_allowed(runner: JobRunner) -> None:
    runner.write_policy(NONE)
    notify(runner, "v1", "v2")
    decide = decider(runner)
    assert decide.round() == []
    runner.write_policy(
        f"version: 1\nrules:\n  - allow: {runner.registry.host}/**\n    tags: [v2]\n"
    )
    assert decide.round() == names(runner, "v2")
    assert runner.run(f"{NAME}:v2").source == "reconcile"
    assert runner.image(f"{NAME}:v2").state is State.LIVE
    assert decide.round() == []
    runner.allow()
    assert decide.round() == names(runner, "v1")


def test_a_policy_that_changed_while_nobody_looked_is_seen(runner: JobRunner) -> None:
    runner.write_policy(NONE)
    notify(runner, "v1")
    decider(runner).round()
    runner.allow()
    assert decider(runner).round() == names(runner, "v1")
    assert decider(runner).round() == []


def test_what_is_denied_again_stays_live_and_its_newest_push_comes_later(
    runner: JobRunner,
) -> None:
    notify(runner, "v1")
    runner.run(f"{NAME}:v1")
    decide = decider(runner)
    decide.round()
    runner.write_policy(NONE)
    notify(runner, "v1")
    assert decide.round() == []
    assert runner.image(f"{NAME}:v1").state is State.LIVE
    second = runner.registry.push_image(NAME, "v1", [tar_of({"tag": b"second"})])
    runner.allow()
    assert decide.round() == names(runner, "v1")
    runner.run(f"{NAME}:v1")
    assert runner.image(f"{NAME}:v1").live_digest == second.digest


def test_what_a_run_refused_by_its_rule_is_decided_again_once(
    runner: JobRunner,
) -> None:
    runner.allow(require_label="{publish: 'yes'}")
    notify(runner, "v1")
    decide = decider(runner)
    # By this policy it was never decided: once more, and no more after that.
    assert runner.run(f"{NAME}:v1").outcome is Outcome.REFUSED
    assert decide.round() == names(runner, "v1")
    assert runner.run(f"{NAME}:v1").outcome is Outcome.REFUSED
    assert decide.round() == []
    runner.clock.passes(3600)
    assert decide.round() == []
    runner.allow()
    assert decide.round() == names(runner, "v1")
    assert runner.run(f"{NAME}:v1").outcome is Outcome.PUBLISHED


def test_only_some_wait_at_a_time_and_only_some_are_decided_in_a_round(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redeciding, "_AT_ONCE", 2)
    runner.write_policy(NONE)
    notify(runner, "v1", "v2", "v3")
    runner.allow()
    decide = decider(runner)
    assert decide.round() == names(runner, "v3", "v2")
    assert decide.round() == []
    runner.run(f"{NAME}:v3")
    # Begun anew, what was asked for is not asked for again.
    assert decider(runner).round() == names(runner, "v1")
    monkeypatch.setattr(redeciding, "_DECISIONS", 2)
    runner.write_policy(NONE)
    notify(runner, "w1", "w2", "w3", "w4")
    runner.write_policy(
        f"version: 1\nrules:\n  - allow: {runner.registry.host}/**\n    tags: [w1]\n"
    )
    late = decider(runner)
    assert late.round() == []
    assert late.round() == names(runner, "w1")


def test_what_another_machine_refused_by_the_old_policy_is_decided_later(
    runner: JobRunner,
) -> None:
    decide = decider(runner)
    assert decide.round() == []
    runner.write_policy(NONE)
    notify(runner, "v1")
    runner.allow()
    assert decide.round() == []  # as far as this one knows, nothing has changed
    runner.clock.passes(redeciding._LATE_SECONDS)
    assert decide.round() == names(runner, "v1")
    runner.ledger.cancel(names(runner, "v1")[0], "enough")
    assert decide.round() == []


def test_without_a_good_policy_nothing_is_decided(runner: JobRunner) -> None:
    runner.write_policy(NONE)
    notify(runner, "v1")
    decide = decider(runner)
    decide.round()
    runner.write_policy("rules: [}")
    assert decide.round() == []


def test_once_asks_for_all_of_it_and_says_so(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redeciding, "_AT_ONCE", 1)
    runner.write_policy(NONE)
    notify(runner, "v1", "v2")
    runner.allow()
    result = command(runner, "reconcile", "--once")
    assert result.exit_code == 0, result.output
    said = [
        f"{name}: refused before, allowed now; queued"
        for name in names(runner, "v2", "v1")
    ]
    assert result.stdout.splitlines() == said
