"""Single values of records are what they may be, or are refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ledger import values
from workers.ledger.odd import ODD

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.slow
@given(JSON)
def test_any_value_is_read_or_refused(value: object) -> None:
    for read in (values.text, values.line, values.number, values.time, values.count):
        try:
            read(value)
        except ODD:
            continue


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (values.number, "nan"),
        (values.number, float("inf")),
        (values.number, True),
        (values.number, 10**400),
        (values.time, -1),
        (values.time, 253_402_300_800),
        (values.count, "1.5"),
        (values.count, -1),
        (values.count, "9" * 5000),
        (values.line, "\x1b[2J"),
        (values.line, "\udcff"),
        (values.text, None),
        (values.json_object, "[]"),
    ],
)
def test_what_we_never_write_is_refused(
    read: Callable[[object], object], value: object
) -> None:
    with pytest.raises(ODD):
        read(value)


def test_what_we_write_is_read() -> None:
    assert values.time("1800000000.25") == 1_800_000_000.25
    assert values.count("9007199254740993") == 9_007_199_254_740_993
    assert values.count(3.0) == 3
    assert values.some_text(None) is None
    assert values.json_object('{"a": 1}') == {"a": 1}


def test_what_a_sender_wrote_that_no_page_could_carry_is_replaced() -> None:
    assert values.text("a\ud800b") == "a?b"
