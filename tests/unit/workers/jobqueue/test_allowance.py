"""Time that a stretch of work may wait, all in all."""

import pytest
import redis

from workers.jobqueue.allowance import Allowance, present_allowance, waiting_at_most


def test_without_an_allowance_a_client_waits_as_it_does() -> None:
    assert present_allowance() is None
    with waiting_at_most(2):
        assert present_allowance() is not None
    assert present_allowance() is None


def test_the_shorter_of_two_counts() -> None:
    with waiting_at_most(2), waiting_at_most(60):
        inner = present_allowance()
        assert inner
        assert inner.left == 2
    with waiting_at_most(60), waiting_at_most(2):
        inner = present_allowance()
        assert inner
        assert inner.left == 2


def test_only_waiting_is_counted_and_what_is_spent_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([10.0, 11.5, 11.5, 90.0, 90.25, 91.0, 91.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    allowance = Allowance(2)
    with allowance.spent():
        assert allowance.left == 0.5
    assert allowance.left == 0.5  # although a minute passes
    with allowance.spent():
        assert allowance.left == 0.25
    assert allowance.left < 0
    with pytest.raises(redis.TimeoutError), allowance.spent():
        pytest.fail("it waits")
