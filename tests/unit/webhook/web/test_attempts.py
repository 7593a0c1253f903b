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


def test_one_client_is_one_however_its_address_is_written() -> None:
    attempts = Attempts(clock=lambda: 0.0, allowed=1)
    attempts.failed("::ffff:192.0.2.1")
    assert attempts.seconds_to_wait("192.0.2.1")
    assert attempts.seconds_to_wait("::ffff:c000:201")
    # All of IPv4 is within one /64 when it is written so.
    assert not attempts.seconds_to_wait("::ffff:192.0.2.2")
    attempts.failed("fe80::1%eth0")
    assert attempts.seconds_to_wait("fe80::2%eth1")


def test_whoever_comes_without_an_address_is_counted_too() -> None:
    attempts = Attempts(clock=lambda: 0.0, allowed=1)
    attempts.failed("")  # over a unix socket
    assert attempts.seconds_to_wait("")
    attempts.failed("x" * 100_000)
    assert all(len(network) <= 100 for network in attempts._times)
