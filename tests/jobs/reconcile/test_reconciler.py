"""What nobody told us of is found by asking, and goes the way of what is told."""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import MINUTE, NAME, ReconcilerDriver
from workers.policy.watching import RECONCILER


def test_a_push_whose_notification_was_lost_is_published(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    assert watch.found().pushed == ()
    moved = watch.push("v1", b"second")
    new = watch.push("v2")
    assert watch.found().pushed == ("v1", "v2")
    watch.work("v1", "v2")
    assert runner.image(f"{NAME}:v1").live_digest == moved.digest
    assert runner.image(f"{NAME}:v2").live_digest == new.digest
    last_run = runner.image(f"{NAME}:v2").last_run
    assert last_run is not None
    assert last_run.source == RECONCILER
    (delivery,) = runner.ledger.deliveries()
    assert [event.reference for event in delivery.events] == [
        runner.reference(f"{NAME}:v1"),
        runner.reference(f"{NAME}:v2"),
    ]
    assert watch.found().pushed == ()


def test_a_look_is_made_when_its_time_has_come_also_after_a_restart(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    assert len(watch.look()) == 1
    watch.reconciler = watch.started()
    runner.clock.passes(14 * MINUTE)
    assert watch.look() == []
    runner.clock.passes(1 * MINUTE)
    assert len(watch.look()) == 1


def test_two_reconcilers_do_not_look_at_once(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    with watch.looks.claim(f"{runner.registry.host}/{NAME}") as is_ours:
        assert is_ours
        (found,) = watch.look()
        assert "another process" in str(found.problem)
    assert len(watch.look()) == 1


def test_a_mistake_of_ours_ends_nothing(
    runner: JobRunner, watch: ReconcilerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.publish("v1")
    with monkeypatch.context() as patched:
        patched.setattr("webhook.reconcile.look.findings", None)
        (found,) = watch.look()
    assert found.problem == "internal error (TypeError)"
    assert watch.found().problem is None
