"""What a tree was made of is read back, and nothing else is believed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.formats.flat_record import FlatRecord

RECORDS = st.builds(
    FlatRecord,
    layers=st.lists(st.text()).map(tuple),
    size=st.integers(0),
    entries=st.integers(0),
    converter=st.integers(0),
    apart=st.dictionaries(st.text(), st.text()),
    is_stacked=st.booleans(),
)


@given(RECORDS)
def test_a_record_is_read_back_as_it_was_written(record: FlatRecord) -> None:
    assert FlatRecord.parse(record.document()) == record


def test_a_record_is_written_as_ever() -> None:
    """Trees that are published already have it so."""
    record = FlatRecord(("sha256:aa", "sha256:bb"), 12, 3, 4)
    assert record.document() == (
        b'{"apart": {}, "converter": 4, "entries": 3, "is_stacked": false,'
        b' "layers": ["sha256:aa", "sha256:bb"], "size": 12}\n'
    )


def test_a_record_of_the_first_converters_is_read_as_theirs() -> None:
    raw = b'{"entries": 3, "layers": ["sha256:aa"], "size": 12}\n'
    assert FlatRecord.parse(raw) == FlatRecord(("sha256:aa",), 12, 3, converter=0)


@pytest.mark.parametrize("missing", ["layers", "size", "entries"])
def test_a_record_with_a_part_missing_is_none(missing: str) -> None:
    said = {"layers": ["sha256:aa"], "size": 1, "entries": 2}
    del said[missing]
    assert FlatRecord.parse(json.dumps(said).encode()) is None


@pytest.mark.parametrize(
    ("key", "value"), [("layers", 5), ("layers", None), ("size", "x"), ("entries", [])]
)
def test_a_record_of_other_things_is_none(key: str, value: object) -> None:
    said = {"layers": ["sha256:aa"], "size": 1, "entries": 2, key: value}
    assert FlatRecord.parse(json.dumps(said).encode()) is None


def test_what_a_later_version_says_beside_is_passed_over() -> None:
    said = {"layers": ["sha256:aa"], "size": 1, "entries": 2, "later": "?"}
    parsed = FlatRecord.parse(json.dumps(said).encode())
    assert parsed == FlatRecord(("sha256:aa",), 1, 2, converter=0)


@given(st.binary())
def test_of_any_other_bytes_nothing_is_believed(data: bytes) -> None:
    assert FlatRecord.parse(data) is None
