"""What was given up for trouble around an image is asked for again, watched or not."""

import math

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.steering import NAME, give_up, order, publish, push, remove
from tests.support.images.oci import tar_of
from webhook.reconcile import resuming
from webhook.reconcile.resuming import Resuming
from workers.ledger import Outcome, RunResult, State, orders

HOURS = 3600.0
FIRST = [tar_of({"etc/motd": b"first"})]


def resumer(runner: JobRunner) -> Resuming:
    services = runner.services
    return Resuming(runner.ledger, services.front.queue, services.policy)


def test_what_a_registry_refused_is_asked_for_every_six_hours(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    give_up(runner)
    assert runner.image(NAME).state is State.FAILED
    again = resumer(runner)
    assert again.round() == []
    runner.clock.passes(5.9 * HOURS)
    assert again.round() == []
    runner.clock.passes(0.2 * HOURS)
    assert again.round() == [runner.reference(NAME)]
    runner.clock.passes(61)
    assert again.round() == []
    run = runner.run(NAME)
    assert (run.outcome, run.attempt) == (Outcome.PUBLISHED, 1)


def test_the_registry_is_not_waited_for_as_after_a_push(runner: JobRunner) -> None:
    push(runner, FIRST)
    give_up(runner)
    runner.clock.passes(7 * HOURS)
    name = runner.reference(NAME)
    assert resumer(runner).round() == [name]
    lease = runner.ledger.begin(name, worker="test")
    assert lease is not None
    assert lease.hint is not None
    assert lease.hint_age == math.inf


def test_what_is_the_images_own_fault_is_not_asked_for(runner: JobRunner) -> None:
    push(runner, [b"no layer"])
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.FAILED
    runner.clock.passes(7 * HOURS)
    assert resumer(runner).round() == []


def test_what_is_wrong_with_a_later_push_is_final(runner: JobRunner) -> None:
    give_up(runner)
    push(runner, [b"no layer"])
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.FAILED
    runner.clock.passes(7 * HOURS)
    assert resumer(runner).round() == []


def test_what_the_policy_does_not_want_any_more_is_not_asked_for(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    give_up(runner)
    runner.clock.passes(7 * HOURS)
    runner.write_policy("version: 1\nrules: []\n")
    assert resumer(runner).round() == []


def test_what_was_asked_for_is_asked_for_again(runner: JobRunner) -> None:
    publish(runner, FIRST)
    order(runner, orders.REMOVE)
    name = runner.reference(NAME)
    lease = runner.ledger.begin(name, worker="test")
    assert lease is not None
    given_up = RunResult(Outcome.FAILED, reason="x", is_given_up=True)
    runner.ledger.finish(lease, given_up)
    runner.clock.passes(7 * HOURS)
    runner.write_policy("version: 1\nrules: []\n")  # has no say in removals
    assert resumer(runner).round() == [name]
    assert runner.run(NAME).outcome is Outcome.REMOVED


def test_a_removal_by_hand_is_not_undone(runner: JobRunner) -> None:
    publish(runner, FIRST)
    push(runner, [tar_of({"etc/motd": b"second"})])
    give_up(runner)
    remove(runner)
    runner.clock.passes(7 * HOURS)
    assert resumer(runner).round() == []


def test_only_some_are_tried_at_a_time(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "_AT_ONCE", 1)
    monkeypatch.setattr(resuming, "_RECORDS_AT_ONCE", 1)
    for tag in ("v1", "v2"):
        push(runner, FIRST, f"atlas/analysis:{tag}")
        give_up(runner, f"atlas/analysis:{tag}")
    runner.clock.passes(7 * HOURS)
    again = resumer(runner)
    first = again.round()
    assert len(first) == 1
    runner.clock.passes(61)
    assert again.round() == []
    runner.run(first[0].partition("/")[2])
    runner.clock.passes(61)
    assert len(again.round()) == 1
