"""Bytes become a document, or one clear line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.senders import SENDERS
from webhook.senders.notification import (
    UnreadableNotification,
    parse_json,
    read_notification,
)
from workers.config import Limits, Secret, SourceConfig


def complaint(body: bytes, deepest: int = 32) -> str:
    with pytest.raises(UnreadableNotification) as caught:
        parse_json(body, deepest)
    assert caught.value.status == 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON: Expecting value at character 0"),
        (b"\xff\xfe", "not UTF-8: byte 0 is wrong"),
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8: byte 7 is wrong"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{} {}", "not JSON: Extra data at character 3"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'[{"\\ud800": 1, "\\ud800": 2}]', r"the key '\ud800' stands twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e400}', "the number 1e400 is out of range"),
        (b'{"a": -1e400}', "the number -1e400 is out of range"),
        (b"[" + b"9" * 5000 + b"]", "a number has too many digits"),
        (b'"\x00"', "not JSON: Invalid control character"),
        (b"payload=%7B%7D", "not JSON"),
    ],
)
def test_what_is_no_strict_json_is_told_in_one_line(body: bytes, told: str) -> None:
    line = complaint(body)
    assert told in line
    assert line.isprintable()


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("is_closed", [True, False])
def test_nesting_ten_thousand_deep_never_reaches_the_parser(
    opening: bytes, *, is_closed: bool
) -> None:
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), b'"a:')[::-1]
    body = opening * 10_000 + (b"1" + closing * 10_000 if is_closed else b"")
    assert complaint(body) == "the body is nested deeper than 32 levels"


def test_the_depth_limit_is_exact_and_breadth_does_not_count() -> None:
    assert parse_json(b"[" * 5 + b"]" * 5, 5) == [[[[[]]]]]
    assert "deeper than 5" in complaint(b"[" * 6 + b"]" * 6, 5)
    wide: list[dict[str, list[int]]] = [{"a": []}] * 1000
    assert parse_json(json.dumps(wide).encode(), 5) == wide


def test_brackets_inside_texts_do_not_count() -> None:
    texts = ["[" * 100, '"' + "{" * 100, "\\" + "[" * 100, '\\"' + "[{" * 50]
    assert parse_json(json.dumps(texts).encode(), 5) == texts


def test_hostile_texts_are_scanned_once() -> None:
    # Any of these takes a scanner that starts anew at every quote many minutes.
    for body in (
        b"[[[[[[" + b'"' + b'\\"' * 400_000,
        b"[[[[[[" + b'"\\' * 400_000,
        b"[]" * 400_000,
    ):
        complaint(body, 5)


def test_numbers_that_fit_are_kept() -> None:
    assert parse_json(b"[1.5, -2, 1e3, 0.0]", 5) == [1.5, -2, 1000.0, 0.0]
    assert parse_json(b"9" * 400, 5) == int("9" * 400)
    assert parse_json(b'"\\ud800\\u0000"', 5) == "\ud800\0"


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0d8e1-.', max_size=60))
def test_any_bytes_are_a_document_or_our_own_error(body: bytes | str) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    try:
        parse_json(data, 8)
    except UnreadableNotification as exc:
        assert str(exc).isprintable()  # noqa: PT017 - both outcomes are right
    else:
        json.loads(data)


def test_an_envelope_of_too_many_events_is_refused_without_reading_them_all() -> None:
    source = SourceConfig("a", "distribution", (Secret("s3cret"),), "a.b")
    sender = SENDERS["distribution"]
    body = b'{"events": [' + b",".join([b"0"] * 500_000) + b"]}"
    with pytest.raises(UnreadableNotification, match="more than 100 events") as caught:
        read_notification(body, sender, source, Limits())
    assert caught.value.status == 413
    few = b'{"events": [' + b",".join([b"0"] * 100) + b"]}"
    assert len(read_notification(few, sender, source, Limits())) == 100
