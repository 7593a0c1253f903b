"""Peers that are slow, silent, greedy or odd keep nobody else waiting."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request, send_file

from tests.support.harness.http_server import (
    TICK_SECONDS,
    RunningHttpServer,
    run_http_server,
)
from tests.support.tools.waiting import wait_until
from webhook.wire import PeerLimits, RequestHead

MANY = 100
LARGE = bytes(range(256)) * 32_768  # 8 MiB, more than the kernel takes of an answer
HALF_A_HEAD = "POST /hooks/hub HTTP/1.1\r\nX-Long: "
HALF_A_BODY = "POST /hooks/hub HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"


class Pages:
    """An application with a page for each way of being slow."""

    def __init__(self, folder: Path) -> None:
        self.go_on = threading.Event()
        self.app = app = Flask("pages")
        self.read: list[bytes] = []
        large = folder / "large"
        large.write_bytes(LARGE)

        @app.route("/", methods=["GET", "POST"])
        def echo() -> bytes:
            self.read.append(request.get_data())
            return request.method.encode() + b" " + self.read[-1]

        @app.post("/hooks/<name>")
        def hook(name: str) -> tuple[str, int]:
            if name == "stranger":
                return "not found", 404
            self.read.append(request.get_data())
            return "taken", 202

        @app.get("/file")
        def file() -> Response:
            return send_file(large, max_age=1)

        @app.get("/page")
        def page() -> bytes:
            return LARGE

        @app.get("/slow")
        def slow() -> str:
            assert self.go_on.wait(30)
            return "slow"

        @app.get("/fault")
        def fault() -> Response:
            return Response(parts(), headers={"Content-Length": "9"})

        def parts() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("a fault")


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(tmp_path)


@pytest.fixture
def door(pages: Pages) -> Iterator[RunningHttpServer]:
    with run_http_server(pages.app) as made:
        yield made


def terms(**more: Any) -> PeerLimits:
    return PeerLimits(**{"tick_seconds": TICK_SECONDS, **more})


def hook(door: RunningHttpServer, name: str = "hub", body: str = "now") -> int:
    peer = door.peer()
    peer.say(f"POST /hooks/{name} HTTP/1.1\r\nHost: h\r\n")
    peer.say(f"Content-Length: {len(body)}\r\n\r\n{body}")
    return peer.answer()[0]


# Slow senders.


@pytest.mark.parametrize("part", [HALF_A_HEAD, HALF_A_BODY, "", "P"])
def test_a_hundred_dripping_senders_keep_no_honest_one_waiting(
    door: RunningHttpServer, part: str
) -> None:
    drips = [door.peer() for _ in range(MANY)]
    for each in drips:
        each.say(part)
    for _ in range(3):
        for each in drips:
            each.drip()
        assert hook(door) == 202
        assert door.peer().ask() == (200, b"GET ")


@pytest.mark.parametrize(
    ("part", "which"), [(HALF_A_HEAD, "head_seconds"), (HALF_A_BODY, "body_seconds")]
)
def test_dripping_wins_no_time(pages: Pages, part: str, which: str) -> None:
    with run_http_server(pages.app, terms=terms(**{which: 0.2})) as door:
        peer = door.peer()
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

    with run_http_server(pages.app, body_bytes=body_bytes) as door:
        for more in ("Content-Length: 50", "Transfer-Encoding: chunked"):
            peer = door.peer()
            peer.say(f"POST /hooks/stranger HTTP/1.1\r\nHost: h\r\n{more}\r\n\r\n")
            assert peer.answer()[0] == 404
            assert peer.is_closed()
        peer = door.peer()
        peer.say(
            "POST /hooks/stranger HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        assert peer.answer()[0] == 404
    assert pages.read == []


def test_a_body_that_was_not_waited_for_is_never_taken_for_a_whole_one(
    pages: Pages,
) -> None:
    with run_http_server(pages.app, body_bytes=lambda head: 3) as door:
        peer = door.peer()
        peer.say("POST /hooks/hub HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
        assert peer.answer()[0] >= 500
    assert pages.read == []


def test_an_address_may_have_only_some_slow_requests(pages: Pages) -> None:
    bounds = terms(slow_seconds=0.1, slow_per_address=3)
    with run_http_server(pages.app, terms=bounds) as door:
        drips = [door.peer() for _ in range(5)]
        for each in drips:
            each.say(HALF_A_HEAD)
        assert [each.answer()[0] for each in drips[:2]] == [429, 429]
        drips[4].say("x\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert drips[4].answer()[0] == 202


def test_when_all_places_are_taken_the_slowest_makes_room(pages: Pages) -> None:
    bounds = terms(connections=10, head_seconds=60, slow_seconds=60)
    with run_http_server(pages.app, terms=bounds) as door:
        silent = [door.peer() for _ in range(5)]
        dripping = [door.peer() for _ in range(5)]
        for each in dripping:
            each.say(HALF_A_HEAD)
        assert hook(door) == 202
        assert silent[0].is_closed()
        for _ in range(4):
            assert hook(door) == 202
        dripping[-1].say("x\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert dripping[-1].answer()[0] == 202


def test_who_keeps_a_connection_for_later_is_not_the_one_who_makes_room(
    pages: Pages,
) -> None:
    bounds = terms(connections=10, slow_seconds=0, slow_per_address=9)
    with run_http_server(pages.app, terms=bounds) as door:
        kept = [door.peer() for _ in range(8)]
        dripping = [door.peer() for _ in range(2)]
        for each in dripping:
            each.say(HALF_A_HEAD)
        # It has been answered, so what was sent before it has come, too.
        assert kept[-1].ask() == (200, b"GET ")
        assert hook(door) == 202
        assert dripping[0].answer()[0] == 408
        for each in kept:
            assert each.ask() == (200, b"GET ")


def test_large_bodies_have_a_bound_together(pages: Pages) -> None:
    with run_http_server(pages.app, terms=terms(bodies_bytes=250_000)) as door:
        peers = [door.peer() for _ in range(3)]
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
        again = door.peer()
        again.say(head + "x" * 100_000)
        assert again.answer()[0] == 200


def test_who_says_nothing_is_left_without_a_word(pages: Pages) -> None:
    bounds = terms(head_seconds=0.1, idle_seconds=0.1)
    with run_http_server(pages.app, terms=bounds) as door:
        assert door.peer().is_closed()
        peer = door.peer()
        assert peer.ask() == (200, b"GET ")
        assert peer.is_closed()


# Slow readers.


@pytest.mark.parametrize("what", ["/file", "/page"])
def test_who_does_not_read_keeps_nobody_waiting(
    door: RunningHttpServer, what: str
) -> None:
    slow = [door.peer(receive_bytes=4096) for _ in range(20)]
    for each in slow:
        each.say(f"GET {what} HTTP/1.1\r\nHost: h\r\n\r\n")
    for _ in range(3):
        assert hook(door) == 202
        assert door.peer().ask(what) == (200, LARGE)
    # And who is slow gets everything all the same.
    assert slow[7].answer() == (200, LARGE)
    assert slow[7].ask() == (200, b"GET ")


@pytest.mark.parametrize("what", ["/file", "/page"])
def test_who_takes_too_long_to_read_is_cut_off(
    pages: Pages, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.INFO)
    bounds = terms(answer_seconds=0.1, slowest_rate=1e9)
    with run_http_server(pages.app, terms=bounds) as door:
        peer = door.peer(receive_bytes=4096)
        peer.say(f"GET {what} HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: "does not take its answer" in caplog.text, "it ends")
        with pytest.raises((AssertionError, ConnectionError), match=r"cut|reset"):
            peer.answer()


def test_what_is_urgent_does_not_wait_for_slow_pages(
    pages: Pages, door: RunningHttpServer
) -> None:
    slow = [door.peer() for _ in range(10)]
    for each in slow:
        each.say("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    assert hook(door) == 202
    pages.go_on.set()
    assert {each.answer() for each in slow} == {(200, b"slow")}


# HTTP.


def test_one_connection_serves_one_request_after_another(
    door: RunningHttpServer,
) -> None:
    peer = door.peer()
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
    door: RunningHttpServer,
) -> None:
    peer = door.peer()
    post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"
    peer.say("".join(f"{post}{number}" for number in range(9)) + post)
    for number in range(9):
        assert peer.answer() == (200, f"POST {number}".encode())
    peer.say("9")
    assert peer.answer() == (200, b"POST 9")


def test_who_asks_first_is_told_to_go_on(door: RunningHttpServer) -> None:
    peer = door.peer()
    peer.say(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    assert peer.answer() == (100, b"")
    peer.say("now")
    assert peer.answer() == (200, b"POST now")


def test_who_has_closed_their_side_is_answered(door: RunningHttpServer) -> None:
    peer = door.peer()
    peer.say("GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
    peer.sock.shutdown(1)
    assert peer.answer() == (200, LARGE)


def test_a_request_that_could_be_two_is_none(
    pages: Pages, door: RunningHttpServer
) -> None:
    peer = door.peer()
    peer.say(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"
    )
    assert peer.answer()[0] == 400
    assert peer.is_closed()
    assert pages.read == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("nonsense of s3cret\r\n\r\n", 400),
        ("GET /hooks/hub/s3cret HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
        (f"GET /s3cret{'a' * 5000} HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (f"GET /s3cret HTTP/1.1\r\nA: {'a' * 40_000}", 431),
        ("POST /s3cret HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n", 501),
    ],
)
def test_what_cannot_be_read_is_refused_and_not_logged(
    door: RunningHttpServer, caplog: pytest.LogCaptureFixture, text: str, status: int
) -> None:
    peer = door.peer()
    peer.say(text)
    assert peer.answer()[0] == status
    assert "s3cret" not in caplog.text
    assert hook(door) == 202


def test_a_body_in_too_many_chunks_is_refused(pages: Pages) -> None:
    with run_http_server(pages.app, body_bytes=lambda head: 1000) as door:
        peer = door.peer()
        peer.say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say("1\r\na\r\n" * 2000)
        assert peer.answer()[0] == 413
    assert pages.read == []


def test_an_answer_that_fails_halfway_is_not_sent_by_half(
    door: RunningHttpServer,
) -> None:
    peer = door.peer()
    assert peer.ask("/fault")[0] == 503
    assert peer.is_closed()


def test_a_fault_of_ours_ends_one_connection_and_no_other(
    pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    def body_bytes(head: RequestHead) -> int:
        if head.path == "/boom":
            raise RuntimeError("a fault")
        return 100

    with run_http_server(pages.app, body_bytes=body_bytes) as door:
        first, second = door.peer(), door.peer(receive_bytes=4096)
        first.say("GET /boom HTTP/1.1\r\nHost: h\r\n\r\n")
        assert first.is_closed()
        # Now in the thread that sends to slow readers: the second request is behind.
        second.say("GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
        second.say("GET /boom HTTP/1.1\r\nHost: h\r\n\r\n")
        assert second.answer() == (200, LARGE)
        assert second.is_closed()
        assert door.peer().ask("/page") == (200, LARGE)
    assert caplog.text.count("RuntimeError: a fault") == 2


def test_what_was_begun_is_answered_when_it_is_told_to_stop(
    pages: Pages, door: RunningHttpServer
) -> None:
    idle, busy, half = door.peer(), door.peer(), door.peer()
    assert idle.ask() == (200, b"GET ")
    busy.say("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    half.say(HALF_A_BODY)
    assert hook(door) == 202
    door.stop()
    assert idle.is_closed()
    half.say("other")
    assert half.answer()[0] == 202
    assert half.is_closed()
    pages.go_on.set()
    assert busy.answer() == (200, b"slow")
    assert busy.is_closed()
