"""Where a request ends, however it comes in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.wire.request import (
    LONGEST_HEAD,
    BadChunks,
    RequestBuffer,
    RequestHead,
    TooLarge,
)

MANY = 1_000_000
GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /hooks/hub HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhe\r\nl\r\n3;name=value\r\nabc\r\n0\r\n\r\n"
)
TRAILERS = CHUNKED[:-2] + b"X-Sum: 0\r\n\r\n"


def requests_in(pieces: list[bytes]) -> list[bytes]:
    request, found = RequestBuffer(), []
    for piece in pieces:
        request.feed(piece)
        while request.is_whole(MANY):
            found.append(request.take())
            request.feed(b"")
    assert len(request) == 0
    return found


@given(st.lists(st.sampled_from([GET, POST, CHUNKED, TRAILERS]), max_size=6), st.data())
def test_requests_are_told_apart_wherever_they_are_cut(
    sent: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert requests_in(pieces) == sent


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_wait_or_make_a_request_or_none(junk: bytes, cuts: list[int]) -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for cut in sorted(cuts):
        request.feed(junk[:cut])
        try:
            is_whole = request.is_whole(MANY)
        except (BadChunks, TooLarge):
            return
        if is_whole:
            assert request.take()
            return


def test_a_head_is_read_as_wsgi_will_show_it() -> None:
    text = b"POST /h%20i/x?y HTTP/1.1\r\nA: 1\r\na:\t2 \r\nExpect: 100-Continue\r\n\r\n"
    head = RequestHead.read(text)
    assert (head.method, head.path) == ("POST", "/h i/x")
    assert head.headers == {"a": "1,2", "expect": "100-Continue"}
    assert (head.length, head.is_plain, head.is_asking) == (0, True, True)


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -5",
        b"Content-Length: 5x",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Length : 5",
        b"A: 1\r\n Content-Length: 5",
    ],
)
def test_what_could_be_read_in_two_ways_takes_the_rest_along(line: bytes) -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\n" + line + b"\r\n\r\n" + GET)
    assert request.head is not None
    assert not request.head.is_plain
    assert request.is_whole(MANY)
    assert request.take().endswith(GET)
    assert len(request) == 0


def test_a_head_without_an_end_is_too_large() -> None:
    request = RequestBuffer()
    request.feed(b"a" * LONGEST_HEAD)
    with pytest.raises(TooLarge) as caught:
        request.feed(b"a")
    assert caught.value.status == 431


@pytest.mark.parametrize(
    "chunk", [b"1\r\na\r\n", b"ffff\r\n" + b"a" * 65_535 + b"\r\n"]
)
def test_chunks_without_an_end_are_too_large(chunk: bytes) -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    while len(request) < 100_000:
        request.feed(chunk)
        assert not request.is_whole(100_000)
    request.feed(chunk * (110_000 // len(chunk) + 1))
    with pytest.raises(TooLarge) as caught:
        request.is_whole(100_000)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://h/hooks/hub/s?x", "/hooks/hub/s"),
        ("HTTPS://user@h:1/a%20b#c", "/a b"),
        ("http://h", "/"),
        ("//hooks/hub", "/hooks/hub"),
        ("/hooks/hub#x", "/hooks/hub"),
        ("/a?b=http://h/c", "/a"),
        ("http://[h/hooks/hub", ""),
    ],
)
def test_the_path_is_what_the_application_is_given(target: str, path: str) -> None:
    head = RequestHead.read(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert head.path == path


@pytest.mark.parametrize(
    "body", [b"x", b"5 x", b";", b"5\r\nhelloX", b"5\n", b"\r\n", b"-1\r\n", b"5 \r\n"]
)
def test_what_is_no_chunk_is_not_waited_for(body: bytes) -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    with pytest.raises(BadChunks):
        request.is_whole(MANY)


@pytest.mark.parametrize("body", [b"", b"5", b"5;a", b"5 ", b"5\r", b"5\r\nhello\r"])
def test_a_chunk_that_may_go_on_is_waited_for(body: bytes) -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert not request.is_whole(MANY)


def test_a_chunk_that_is_too_large_is_not_waited_for() -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n")
    with pytest.raises(TooLarge):
        request.is_whole(0xFFE)


def test_chunks_of_whom_nothing_is_taken_from_are_not_looked_at() -> None:
    request = RequestBuffer()
    request.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense")
    assert not request.is_whole(0)
