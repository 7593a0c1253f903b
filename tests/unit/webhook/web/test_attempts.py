"""How often a token may be guessed."""

from webhook.web.attempts import Attempts


def test_guesses_are_forgotten_after_a_while_and_counted_for_a_whole_network() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0], allowed=2, window_seconds=60)
    attempts.failed("2001:db8::1")
    assert attempts.seconds_to_wait("2001:db8::2") == 0
    now[0] = 10
    attempts.failed("2001:db8::ffff")
    assert attempts.seconds_to_wait("2001:db8::2") == 50
    assert attempts.seconds_to_wait("2001:db8:0:1::2") == 0
    now[0] = 60
    assert attempts.seconds_to_wait("2001:db8::2") == 0


def test_the_book_of_guesses_does_not_grow_for_ever() -> None:
    attempts = Attempts(clock=lambda: 0.0, allowed=1, addresses=3)
    for number in range(5):
        attempts.failed(f"192.0.2.{number}")
    waiting = [n for n in range(5) if attempts.seconds_to_wait(f"192.0.2.{n}")]
    assert waiting == [2, 3, 4]
