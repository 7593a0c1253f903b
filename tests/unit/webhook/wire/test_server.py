"""Peers that are slow, silent, greedy or odd keep nobody else waiting."""

import select

import pytest

from tests.support.harness.http_server import (
    LARGE,
    TICK_SECONDS,
    Pages,
    RunningHttpServer,
    hook,
    limits,
    run_http_server,
)
from webhook.wire import RequestHead

MANY = 100
HALF_A_HEAD = "POST /hooks/hub HTTP/1.1\r\nX-Long: "
HALF_A_BODY = "POST /hooks/hub HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"


# Slow senders.


@pytest.mark.parametrize("part", [HALF_A_HEAD, HALF_A_BODY, "", "P"])
def test_a_hundred_dripping_senders_keep_no_honest_one_waiting(
    server: RunningHttpServer, part: str
) -> None:
    drips = [server.peer() for _ in range(MANY)]
    for each in drips:
        each.say(part)
    for _ in range(3):
        for each in drips:
            each.drip()
        assert hook(server) == 202
        assert server.peer().ask() == (200, b"GET ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "which"), [(HALF_A_HEAD, "head_seconds"), (HALF_A_BODY, "body_seconds")]
)
def test_dripping_wins_no_time(pages: Pages, part: str, which: str) -> None:
    with run_http_server(pages.app, limits=limits(**{which: 0.2})) as server:
        peer = server.peer()
        peer.say(part)
        peer.sock.settimeout(TICK_SECONDS)
        for _ in range(1000):
            try:
                assert peer.sock.recv(12) == b"HTTP/1.1 408"
            except TimeoutError:
                if which == "head_seconds":
                    peer.drip()
            else:
                break
        else:
            pytest.fail("it goes on for ever")
    assert pages.read == []


def test_a_stranger_is_answered_before_the_body_comes(pages: Pages) -> None:
    def body_bytes(head: RequestHead) -> int:
        return 0 if "stranger" in head.path else 100

    with run_http_server(pages.app, body_bytes=body_bytes) as server:
        for more in ("Content-Length: 50", "Transfer-Encoding: chunked"):
            peer = server.peer()
            peer.say(f"POST /hooks/stranger HTTP/1.1\r\nHost: h\r\n{more}\r\n\r\n")
            assert peer.answer()[0] == 404
            assert peer.is_closed()
        peer = server.peer()
        peer.say(
            "POST /hooks/stranger HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        assert peer.answer()[0] == 404
    assert pages.read == []


def test_a_body_that_was_not_waited_for_is_never_taken_for_a_whole_one(
    pages: Pages,
) -> None:
    with run_http_server(pages.app, body_bytes=lambda head: 3) as server:
        peer = server.peer()
        peer.say("POST /hooks/hub HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
        assert peer.answer()[0] >= 500
    assert pages.read == []


def test_an_address_may_have_only_some_slow_requests(pages: Pages) -> None:
    bounds = limits(slow_seconds=0.1, slow_per_address=3)
    with run_http_server(pages.app, limits=bounds) as server:
        drips = [server.peer() for _ in range(5)]
        for each in drips:
            each.say(HALF_A_HEAD)
        assert [each.answer()[0] for each in drips[:2]] == [429, 429]
        drips[4].say("x\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert drips[4].answer()[0] == 202


def behind_proxy(peer: str, head: RequestHead) -> str:
    return head.headers.get("x-forwarded-for", peer)


def half_a_body(client: str) -> str:
    return (
        f"POST /hooks/hub HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\n"
        "Content-Length: 4\r\n\r\nha"
    )


def test_slow_requests_through_one_proxy_count_for_their_clients(pages: Pages) -> None:
    bounds = limits(slow_seconds=0.1, slow_per_address=2)
    with run_http_server(pages.app, limits=bounds, client=behind_proxy) as server:
        honest = [server.peer() for _ in range(3)]
        for number, each in enumerate(honest):
            each.say(half_a_body(f"192.0.2.{number}"))
        greedy = [server.peer() for _ in range(3)]
        # The second request over a connection is not the first one's client's.
        assert greedy[0].ask("/", "X-Forwarded-For: 192.0.2.0")[0] == 200
        for each in greedy:
            each.say(half_a_body("198.51.100.1"))
        by_sock = {each.sock: each for each in honest + greedy}
        (refused,), _, _ = select.select(by_sock, [], [], 30)
        one = by_sock.pop(refused)
        assert one in greedy
        assert one.answer()[0] == 429
        for each in by_sock.values():
            each.say("lf")
            assert each.answer()[0] == 202


def test_room_is_made_by_the_client_who_holds_most(pages: Pages) -> None:
    bounds = limits(connections=6, slow_seconds=60)
    with run_http_server(pages.app, limits=bounds, client=behind_proxy) as server:
        peers = [server.peer() for _ in range(5)]
        for number, each in enumerate(peers):
            each.say(half_a_body("192.0.2.1" if number < 2 else "192.0.2.2"))
        # It has been answered, so what was sent before it has come, too.
        assert server.peer().ask()[0] == 200
        assert hook(server) == 202
        (refused,), _, _ = select.select([each.sock for each in peers], [], [], 30)
        assert refused in {each.sock for each in peers[2:]}


def test_when_all_places_are_taken_the_slowest_makes_room(pages: Pages) -> None:
    bounds = limits(connections=10, head_seconds=60, slow_seconds=60)
    with run_http_server(pages.app, limits=bounds) as server:
        silent = [server.peer() for _ in range(5)]
        dripping = [server.peer() for _ in range(5)]
        for each in dripping:
            each.say(HALF_A_HEAD)
        assert hook(server) == 202
        assert silent[0].is_closed()
        for _ in range(4):
            assert hook(server) == 202
        dripping[-1].say("x\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert dripping[-1].answer()[0] == 202


def test_who_keeps_a_connection_for_later_is_not_the_one_who_makes_room(
    pages: Pages,
) -> None:
    bounds = limits(connections=10, slow_seconds=0, slow_per_address=9)
    with run_http_server(pages.app, limits=bounds) as server:
        kept = [server.peer() for _ in range(8)]
        dripping = [server.peer() for _ in range(2)]
        for each in dripping:
            each.say(HALF_A_HEAD)
        # It has been answered, so what was sent before it has come, too.
        assert kept[-1].ask() == (200, b"GET ")
        assert hook(server) == 202
        assert dripping[0].answer()[0] == 408
        for each in kept:
            assert each.ask() == (200, b"GET ")


def test_large_bodies_have_a_bound_together(pages: Pages) -> None:
    with run_http_server(pages.app, limits=limits(bodies_bytes=250_000)) as server:
        peers = [server.peer() for _ in range(3)]
        head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
        for each in peers[:2]:
            each.say(head + "Expect")
        peers[0].say(b" " * 10)
        peers[2].say(head)
        assert peers[2].answer()[0] == 503
        for each in peers[:2]:
            each.say(b"x" * (100_000 - 6 - (10 if each is peers[0] else 0)))
            assert each.answer()[0] == 200
        assert [len(body) for body in pages.read] == [100_000, 100_000]
        again = server.peer()
        again.say(head + "x" * 100_000)
        assert again.answer()[0] == 200


def test_chunks_take_of_the_bound_what_has_come_of_them(pages: Pages) -> None:
    with run_http_server(pages.app, limits=limits(bodies_bytes=250_000)) as server:
        peers = [server.peer() for _ in range(4)]
        head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        for each in peers:
            each.say(head + "3\r\nnow\r\n")
        large = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
        for _ in range(2):
            large_one = server.peer()
            large_one.say(head.encode() + large * 2 + b"0\r\n\r\n")
            assert large_one.answer()[0] == 200
        peers[0].say(large * 4)
        assert peers[0].answer()[0] == 503
        for each in peers[1:]:
            each.say("0\r\n\r\n")
            assert each.answer() == (200, b"POST now")


def test_who_says_nothing_is_left_without_a_word(pages: Pages) -> None:
    bounds = limits(head_seconds=0.1, idle_seconds=0.1)
    with run_http_server(pages.app, limits=bounds) as server:
        assert server.peer().is_closed()
        peer = server.peer()
        assert peer.ask() == (200, b"GET ")
        assert peer.is_closed()


# Slow readers.


# HTTP.


def test_who_asks_first_is_told_to_go_on(server: RunningHttpServer) -> None:
    peer = server.peer()
    peer.say(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    assert peer.answer() == (100, b"")
    peer.say("now")
    assert peer.answer() == (200, b"POST now")


def test_who_has_closed_their_side_is_answered(server: RunningHttpServer) -> None:
    peer = server.peer()
    peer.say("GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
    peer.sock.shutdown(1)
    assert peer.answer() == (200, LARGE)


def test_a_body_in_too_many_chunks_is_refused(pages: Pages) -> None:
    pages.app.config["MAX_CONTENT_LENGTH"] = 1_000_000
    with run_http_server(pages.app, body_bytes=lambda head: 1000) as server:
        peer = server.peer()
        peer.say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say("1\r\na\r\n" * 2000)
        assert peer.answer()[0] == 413
    assert pages.read == []


def test_a_fault_of_ours_ends_one_connection_and_no_other(
    pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    def body_bytes(head: RequestHead) -> int:
        if head.path == "/boom":
            raise RuntimeError("a fault")
        return 100

    with run_http_server(pages.app, body_bytes=body_bytes) as server:
        first, second = server.peer(), server.peer(receive_bytes=4096)
        first.say("GET /boom HTTP/1.1\r\nHost: h\r\n\r\n")
        assert first.is_closed()
        # Now in the thread that sends to slow readers: the second request is behind.
        second.say("GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
        second.say("GET /boom HTTP/1.1\r\nHost: h\r\n\r\n")
        assert second.answer() == (200, LARGE)
        assert second.is_closed()
        assert server.peer().ask("/page") == (200, LARGE)
    assert caplog.text.count("RuntimeError: a fault") == 2


def test_what_was_begun_is_answered_when_it_is_told_to_stop(
    pages: Pages, server: RunningHttpServer
) -> None:
    idle, busy, half = server.peer(), server.peer(), server.peer()
    assert idle.ask() == (200, b"GET ")
    busy.say("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    half.say(HALF_A_BODY)
    assert hook(server) == 202
    server.stop()
    assert idle.is_closed()
    half.say("other")
    assert half.answer()[0] == 202
    assert half.is_closed()
    pages.go_on.set()
    assert busy.answer() == (200, b"slow")
    assert busy.is_closed()
