"""After a silence, those who live have time to say so."""

from tests.support.harness.ledger import StoppedClock
from workers.jobqueue.silence import Silence


def test_whoever_hears_redis_all_the_time_waits_for_nobody() -> None:
    clock = StoppedClock()
    silence = Silence(clock)
    for _ in range(100):
        clock.passes(2)
        silence.note_answer()
        assert silence.is_over


def test_after_a_silence_others_are_waited_for_and_not_for_ever() -> None:
    clock = StoppedClock()
    silence = Silence(clock)
    clock.passes(45)
    silence.note_answer()
    assert not silence.is_over
    for _ in range(10):
        clock.passes(1)
        silence.note_answer()
    assert silence.is_over
