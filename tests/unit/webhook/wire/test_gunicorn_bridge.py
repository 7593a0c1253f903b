"""What is put through the application is what gunicorn reads, or refused."""

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
