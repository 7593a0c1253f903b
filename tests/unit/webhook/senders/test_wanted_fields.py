"""What is left of a large document, and what it costs."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.senders.wanted_fields import (
    TooDeep,
    TooMuchWanted,
    property_names,
    wanted_fields,
)

WANTED = frozenset({"events", "id", "target", "tag"})
MEBIBYTE = 1024 * 1024


def left(body: bytes, *, deepest: int = 32, most_bytes: int = MEBIBYTE) -> bytes:
    return wanted_fields(body, WANTED, deepest=deepest, most_bytes=most_bytes)


def without_unread(document: Any) -> Any:
    """Do the same to what was read already."""
    if isinstance(document, list):
        return [without_unread(one) for one in document]
    if isinstance(document, dict):
        return {
            key: without_unread(value) if key in WANTED else None
            for key, value in document.items()
        }
    return document


keys = st.sampled_from(["id", "tag", "x", '"', "\\", "é<{["]) | st.text(max_size=4)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | keys,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(documents, st.sampled_from([None, 1]), st.sampled_from(["utf-8", "ascii"]))
def test_all_that_is_wanted_is_left_and_no_more(
    document: object, indent: int | None, written_in: str
) -> None:
    is_ascii = written_in == "ascii"
    text = json.dumps(document, ensure_ascii=is_ascii, indent=indent)
    assert json.loads(left(text.encode())) == without_unread(document)


def test_a_key_is_known_however_it_is_written() -> None:
    assert left(b'{"\\u0069d": 1, "\\u0078": 2, "\\q": 3}') == (
        b'{"\\u0069d": 1, "\\u0078": null, "\\q": null}'
    )


@given(st.binary(max_size=40) | st.text('{}[]:,"\\ 1ai', max_size=40))
def test_any_bytes_are_gone_over(junk: bytes | str) -> None:
    body = junk.encode() if isinstance(junk, str) else junk
    try:
        rest = left(body, deepest=4)
    except TooDeep:
        return
    assert body.count(b"{") or rest == body


@pytest.mark.parametrize(
    "broken", [b'{"x": "', b'{"x": [', b'{"x": {"a": "]}', b'{"x"', b'{"x" 1}', b'{"']
)
def test_what_breaks_off_stays_broken(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(left(broken))


@pytest.mark.parametrize("key", ["x", "id"])
def test_depth_counts_in_what_goes_and_in_what_stays(key: str) -> None:
    deep = f'{{"{key}": {"[" * 5}{"]" * 5}}}'.encode()
    left(deep, deepest=6)
    with pytest.raises(TooDeep):
        left(deep, deepest=5)


def test_more_than_may_be_kept_is_refused() -> None:
    body = b'{"id": "' + b"a" * 100 + b'"}'
    left(body, most_bytes=len(body))
    with pytest.raises(TooMuchWanted):
        left(body, most_bytes=len(body) - 1)
    left(body.replace(b"id", b"x"), most_bytes=50)
    with pytest.raises(TooMuchWanted):
        left(b" " * 51, most_bytes=50)


def test_what_goes_costs_no_memory() -> None:
    text = "\\u003c" * MEBIBYTE
    many = ",".join(f'"{n}": ""' for n in range(20_000))
    event = f'{{"id": 1, "x": "{text}", "y": {{"tag": {{{many}}}}}}}'
    body = f'{{"events": [{event}]}}'.encode()
    tracemalloc.start()
    try:
        assert left(body) == b'{"events": [{"id": 1, "x": null, "y": null}]}'
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 100_000


def test_the_names_of_a_schema_are_those_of_all_its_properties() -> None:
    schema: dict[str, Any] = {
        "properties": {"a": {"properties": {"b": {}}}},
        "$defs": {"event": {"properties": {"c": {}}}},
    }
    assert property_names(schema) == {"a", "b", "c"}
