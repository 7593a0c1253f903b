"""Who asks is answered at once, with what was seen last."""

import threading

import pytest

from workers.care.background_look import BackgroundLook


def test_what_takes_its_time_is_seen_by_those_who_ask_later() -> None:
    may_look, looks = threading.Event(), []

    def look() -> str:
        assert may_look.wait(10)
        looks.append(threading.current_thread().name)
        return "seen"

    background = BackgroundLook(look, "nothing", "a look")
    assert [background.seen(), background.seen()] == ["nothing", "nothing"]
    [thread] = [each for each in threading.enumerate() if each.name == "a look"]
    may_look.set()
    thread.join()
    assert background.seen() == "seen"
    assert looks == ["a look"]


def test_what_goes_wrong_with_one_look_does_not_stop_the_next() -> None:
    numbers = iter([0, 1])
    background = BackgroundLook(lambda: 1 // next(numbers), -1, "a look")
    with pytest.raises(ZeroDivisionError):
        background.look()
    background.look()
    assert background.seen() == 1
