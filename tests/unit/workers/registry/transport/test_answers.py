import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import PermanentError, TransientError
from workers.registry.transport.answers import (
    AccessDenied,
    ImageNotFound,
    Refusal,
    RegistryProtocolError,
    RegistryUnavailable,
    StorageRefused,
    Throttled,
    as_error,
    complaint,
    retry_after,
    sanitised,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def _error(status: int, *, is_storage: bool = False, **headers: str) -> Exception:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    refusal = Refusal(status, names, b"", "https://r.example", is_storage=is_storage)
    return as_error(refusal, "r.example/a:b", hide=(), now=NOW)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RegistryProtocolError),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, ImageNotFound),
        (408, RegistryUnavailable),
        (418, RegistryProtocolError),
        (421, RegistryUnavailable),
        (429, Throttled),
        (500, RegistryUnavailable),
        (503, RegistryUnavailable),
        (599, RegistryUnavailable),
        (206, RegistryProtocolError),
    ],
)
def test_a_status_decides_the_error(status: int, kind: type[Exception]) -> None:
    error = _error(status)
    assert type(error) is kind
    assert str(error).startswith(f"r.example/a:b: https://r.example answered {status}")


def test_only_that_there_is_no_such_thing_is_final() -> None:
    for status in (400, 401, 403, 503):
        assert isinstance(_error(status), TransientError)
    assert isinstance(_error(404, Content_Type="application/json"), PermanentError)
    assert isinstance(_error(404, Content_Type="text/html; charset=x"), TransientError)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_whatever_a_storage_refuses_may_work_with_the_next_address(status: int) -> None:
    assert type(_error(status, is_storage=True)) is StorageRefused


def test_a_refusal_with_a_time_to_come_back_asks_for_patience() -> None:
    error = _error(403, Retry_After="30")
    assert isinstance(error, Throttled)
    assert error.retry_after == 30.0


@pytest.mark.parametrize(
    ("limit", "after", "seconds"),
    [
        ("100;w=21600", None, 21600.0),
        ("100;w=21600", "9", 9.0),
        ("100; w = 60", None, 60.0),
        ("100;w=99999999", None, 21600.0),
        ("100", None, None),
        ("100;w=9999999999", None, None),
    ],
)
def test_a_rate_limit_may_name_its_window(
    limit: str, after: str | None, seconds: float | None
) -> None:
    said = {} if after is None else {"Retry-After": after}
    refusal = Refusal(429, {"RateLimit-Limit": limit, **said}, b"", "https://r.example")
    error = as_error(refusal, "r.example/a:b", hide=(), now=NOW)
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


def test_a_registry_says_when_to_come_back() -> None:
    error = _error(429, Retry_After="17")
    assert isinstance(error, RegistryUnavailable)
    assert error.retry_after == 17.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999", 21600.0),
        ("9" * 400, None),
        ("Wed, 04 Mar 2026 05:07:07 GMT", 60.0),
        ("Wed, 04 Mar 2026 05:07:07", 60.0),
        ("Wed, 04 Mar 2026 05:06:00 GMT", 0.0),
        ("Wed, 04 Mar 2099 05:06:00 GMT", 21600.0),
        ("Wed, 04 Mar 0001 05:06:00 +2359", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_six_hours(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_read_or_passed_over(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 21600


def test_codes_and_messages_are_quoted() -> None:
    errors = [
        {"code": "TOOMANYREQUESTS", "message": "You have reached\nyour limit"},
        {"code": "DENIED", "detail": {"a": 1}},
    ]
    body = json.dumps({"errors": errors}).encode()
    assert complaint(body) == " (TOOMANYREQUESTS: You have reached your limit; DENIED)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ""),
        (b"<html>", ""),
        (b"upstream is\nbeing replaced\n", " (upstream is being replaced)"),
        (b"\xff\xfe", ""),
        (b"a\x00b", ""),
        (b"[1]", ""),
        (b'{"errors": {}}', ""),
        (b'{"errors": ["a", 1, null]}', ""),
        (
            b'{"details": "incorrect username or password"}',
            " (incorrect username or password)",
        ),
        (b"[" * 100_000, ""),
        (b'{"errors": [{"code": 1, "message": ["a"]}]}', ""),
    ],
)
def test_other_bodies_are_quoted_where_they_speak(body: bytes, expected: str) -> None:
    assert complaint(body) == expected


def test_what_is_quoted_is_short_printable_and_one_line() -> None:
    body = json.dumps({"errors": [{"code": "\x1b[31m\u202e" + "x" * 9000}]}).encode()
    text = complaint(body)
    assert len(text) < 310
    assert text.isprintable()


def test_a_secret_that_a_registry_echoes_is_not_quoted() -> None:
    body = json.dumps({"errors": [{"message": "bad token abc.def.ghi!"}]}).encode()
    assert complaint(body, hide=("", "abc.def.ghi")) == " (bad token …!)"


@given(st.binary())
def test_any_body_is_quoted_in_one_printable_line(body: bytes) -> None:
    assert complaint(body).isprintable()


@given(st.text())
def test_any_text_becomes_one_short_printable_line(text: str) -> None:
    line = sanitised(text)
    assert len(line) <= 300
    assert line.isprintable()
