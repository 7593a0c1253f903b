"""One connection after another request, and pools that do not wait for each other."""

from tests.support.harness.http_server import (
    Pages,
    RunningHttpServer,
    hook,
)


def test_what_is_urgent_does_not_wait_for_slow_pages(
    pages: Pages, server: RunningHttpServer
) -> None:
    slow = [server.peer() for _ in range(10)]
    for each in slow:
        each.say("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    assert hook(server) == 202
    pages.go_on.set()
    assert {each.answer() for each in slow} == {(200, b"slow")}


def test_a_probe_waits_for_nothing_at_all(
    pages: Pages, server: RunningHttpServer
) -> None:
    hanging = [server.peer() for _ in range(10)]
    for each in hanging:
        each.say("POST /hooks/hanging HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    assert server.peer().ask("/healthz") == (200, b"well")
    pages.go_on.set()
    assert {each.answer()[0] for each in hanging} == {202}


def test_one_connection_serves_one_request_after_another(
    server: RunningHttpServer,
) -> None:
    peer = server.peer()
    for body in ("", "one", "two"):
        peer.say(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n")
        peer.say(body)
        assert peer.answer() == (200, f"POST {body}".encode())
    chunks = "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    peer.say(
        f"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    )
    assert peer.answer() == (200, b"POST abc")
    assert peer.ask("/", "Connection: close") == (200, b"GET ")
    assert peer.is_closed()


def test_requests_that_come_together_are_answered_in_turn(
    server: RunningHttpServer,
) -> None:
    peer = server.peer()
    post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"
    peer.say("".join(f"{post}{number}" for number in range(9)) + post)
    for number in range(9):
        assert peer.answer() == (200, f"POST {number}".encode())
    peer.say("9")
    assert peer.answer() == (200, b"POST 9")
