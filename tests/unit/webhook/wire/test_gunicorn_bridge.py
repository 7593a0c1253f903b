"""What is put through the application is what gunicorn reads, or refused."""

import json
from contextlib import suppress

import pytest

from tests.support.harness.http_server import (
    Pages,
    RunningHttpServer,
    hook,
)


def test_a_request_that_could_be_two_is_none(
    pages: Pages, server: RunningHttpServer
) -> None:
    peer = server.peer()
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
    server: RunningHttpServer, caplog: pytest.LogCaptureFixture, text: str, status: int
) -> None:
    peer = server.peer()
    peer.say(text)
    assert peer.answer()[0] == status
    assert "s3cret" not in caplog.text
    assert hook(server) == 202


def test_an_answer_that_fails_halfway_is_not_sent_by_half(
    server: RunningHttpServer,
) -> None:
    peer = server.peer()
    assert peer.ask("/fault")[0] == 503
    assert peer.is_closed()


CHUNKED = "POST /hooks/hub HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "chunks",
    [
        "nonsense\r\n",
        "nonsense without an end",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello!",
        "5\nhello\n0\n\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "\r\n",
        "5\r\nhello\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_chunks_that_are_none_are_a_bad_request(
    pages: Pages, server: RunningHttpServer, chunks: str, pieces: int
) -> None:
    peer = server.peer()
    peer.say(CHUNKED)
    size = -(-len(chunks) // pieces)
    for start in range(0, len(chunks), size):
        with suppress(OSError):  # refused already
            peer.say(chunks[start : start + size])
    assert peer.answer()[0] == 400
    assert peer.is_closed()
    assert pages.read == []
    assert hook(server) == 202


@pytest.mark.parametrize("scheme", ["http", "HTTP", "https"])
def test_a_target_with_scheme_and_host_is_its_path(
    server: RunningHttpServer, scheme: str
) -> None:
    peer = server.peer()
    status, body = peer.ask(f"{scheme}://user@elsewhere:99/where/a?b=c")
    assert (status, json.loads(body)) == (
        200,
        {"path": "/where/a", "query": "b=c", "host": "elsewhere:99"},
    )
    assert peer.ask(f"{scheme}://elsewhere") == (200, b"GET ")
