"""Where a request ends, however it comes in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.wire.request import LONGEST_HEAD, RequestBuffer, RequestHead, TooLarge

MANY = 1_000_000
GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /hooks/hub HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhe\r\nl\r\n3;name=value\r\nabc\r\n0\r\n\r\n"
)
TRAILERS = CHUNKED[:-2] + b"X-Sum: 0\r\n\r\n"


def requests_in(pieces: list[bytes]) -> list[bytes]:
    arriving, found = RequestBuffer(), []
    for piece in pieces:
        arriving.feed(piece)
        while arriving.is_whole(MANY):
            found.append(arriving.take())
            arriving.feed(b"")
    assert len(arriving) == 0
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
def test_any_bytes_either_wait_or_make_a_request(junk: bytes, cuts: list[int]) -> None:
    arriving = RequestBuffer()
    arriving.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for cut in sorted(cuts):
        arriving.feed(junk[:cut])
        if arriving.is_whole(MANY):
            assert arriving.take()
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
    arriving = RequestBuffer()
    arriving.feed(b"POST / HTTP/1.1\r\n" + line + b"\r\n\r\n" + GET)
    assert arriving.head is not None
    assert not arriving.head.is_plain
    assert arriving.is_whole(MANY)
    assert arriving.take().endswith(GET)
    assert len(arriving) == 0


def test_a_head_without_an_end_is_too_large() -> None:
    arriving = RequestBuffer()
    arriving.feed(b"a" * LONGEST_HEAD)
    with pytest.raises(TooLarge) as caught:
        arriving.feed(b"a")
    assert caught.value.status == 431


@pytest.mark.parametrize(
    "chunk", [b"1\r\na\r\n", b"ffff\r\n" + b"a" * 65_535 + b"\r\n"]
)
def test_chunks_without_an_end_are_too_large(chunk: bytes) -> None:
    arriving = RequestBuffer()
    arriving.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    while len(arriving) < 100_000:
        arriving.feed(chunk)
        assert not arriving.is_whole(100_000)
    arriving.feed(chunk * (110_000 // len(chunk) + 1))
    with pytest.raises(TooLarge) as caught:
        arriving.is_whole(100_000)
    assert caught.value.status == 413
