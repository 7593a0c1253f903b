"""An answer that a peer is slow to take costs nobody else anything."""

import logging

import pytest

from tests.support.harness.http_server import (
    LARGE,
    Pages,
    RunningHttpServer,
    hook,
    limits,
    run_http_server,
)
from tests.support.tools.waiting import wait_until


@pytest.mark.parametrize("what", ["/file", "/page"])
def test_who_does_not_read_keeps_nobody_waiting(
    server: RunningHttpServer, what: str
) -> None:
    slow = [server.peer(receive_bytes=4096) for _ in range(20)]
    for each in slow:
        each.say(f"GET {what} HTTP/1.1\r\nHost: h\r\n\r\n")
    for _ in range(3):
        assert hook(server) == 202
        assert server.peer().ask(what) == (200, LARGE)
    # And who is slow gets everything all the same.
    assert slow[7].answer() == (200, LARGE)
    assert slow[7].ask() == (200, b"GET ")


@pytest.mark.parametrize("what", ["/file", "/page"])
def test_who_takes_too_long_to_read_is_cut_off(
    pages: Pages, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.DEBUG)
    bounds = limits(answer_seconds=0.1, slowest_rate=1e9)
    with run_http_server(pages.app, limits=bounds) as server:
        peer = server.peer(receive_bytes=4096)
        peer.say(f"GET {what} HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: "does not take its answer" in caplog.text, "it ends")
        with pytest.raises((AssertionError, ConnectionError), match=r"cut|reset"):
            peer.answer()
