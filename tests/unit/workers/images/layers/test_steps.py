"""Steps are counted, allowed by entries, and a chance to stop."""

from collections import deque
from itertools import repeat

import pytest

from workers.images.layers.steps import Steps
from workers.images.rejected import ImageRejected


def test_as_many_steps_may_be_taken_as_the_entries_are_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.steps._STEPS", 100)
    steps = Steps()
    steps.allow(2)
    steps.take(100 + 2 * 128)
    with pytest.raises(ImageRejected, match="more than 356 steps to follow"):
        steps.take(1)


def test_it_is_asked_again_and_again_whether_to_go_on() -> None:
    class EnoughError(Exception):
        pass

    asked: list[None] = []

    def still_wanted() -> None:
        asked.append(None)
        if len(asked) > 3:
            raise EnoughError

    steps = Steps(still_wanted)
    with pytest.raises(EnoughError):
        deque(map(steps.take, repeat(10)), maxlen=0)
    assert steps.taken < 20_000
