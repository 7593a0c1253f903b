"""Numbers, times and records of tar headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.tar_members import read_one
from workers.images.tar.fields import (
    DamagedTar,
    checked_size,
    parse_decimal,
    parse_owner,
    parse_records,
    parse_time,
)


@pytest.mark.parametrize(
    "field", [b"   644 \0", b"000644\0 ", b"0000644\0", b"\0   644\0", b"644\0rub\0"]
)
def test_octal_numbers_are_padded_in_many_ways(field: bytes) -> None:
    header = bytearray(tars.file(b"a"))
    header[100:108] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    assert read_one(bytes(header))[0].mode == 0o644


@pytest.mark.parametrize("field", [b"-0000644", b"0_000644", b"0o000644", b"00000888"])
def test_what_only_python_takes_for_octal_is_refused(field: bytes) -> None:
    header = bytearray(tars.file(b"a"))
    header[108:116] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    with pytest.raises(DamagedTar, match=r"^tar: '.* is not a number"):
        read_one(bytes(header))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", (0, 0)),
        (b"1.5", (1, 500_000_000)),
        (b"+1700000000", (1_700_000_000, 0)),
        (b"+1.5", (1, 500_000_000)),
        (b"1.", (1, 0)),
        (b"1.123456789987", (1, 123_456_789)),
        (b"-1", (-1, 0)),
        (b"-1.25", (-2, 750_000_000)),
        (b"-0.000000001", (-1, 999_999_999)),
        (b"18446744073709551615.0", (18446744073709551615, 0)),
    ],
)
def test_times_have_nanoseconds_and_may_lie_before_1970(
    text: bytes, expected: tuple[int, int]
) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"+",
        b"+-5",
        b"-+5",
        b"++5",
        b".5",
        b"1.x",
        b"1.-5",
        b"1e3",
        b"9" * 21,
    ],
)
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(DamagedTar):
        parse_time(text)


def test_numbers_of_records_may_have_a_sign_where_it_means_something() -> None:
    assert parse_decimal(b"+7") == 7
    assert (parse_owner(b"-2"), parse_owner(b"+2"), parse_owner(b"2")) == (-2, 2, 2)
    for text in (b"-7", b"+-7", b"++7", b"", b"+"):
        with pytest.raises(DamagedTar, match="is not a number"):
            parse_decimal(text)
    for text in (b"--7", b"-+7", b"-", b"7-"):
        with pytest.raises(DamagedTar, match="is not a number"):
            parse_owner(text)


def test_sizes_are_what_63_bits_hold() -> None:
    assert checked_size((1 << 63) - 1) == (1 << 63) - 1
    for size in (-1, 1 << 63):
        with pytest.raises(DamagedTar, match=f"a map of {size} bytes"):
            checked_size(size, "a map")


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"5 a=b\n",
        b"7 a=b\n",
        b"6 a=bb",
        b"6 a:b\n",
        b"-6 a=b\n",
        b" 6 a=b\n",
        b"99999999999999999999999 a=b\n",
        b"99999999999999999999 a=b\n",
        b"2 a=b\n",
        b"0 a=b\n",
        b"6 a=b\n" + b"\0\0x",
    ],
)
def test_records_that_are_cut_short_are_refused(records: bytes) -> None:
    with pytest.raises(DamagedTar):
        read_one(tars.member(b"x", b"x", records) + tars.file(b"a"))


def test_padding_behind_the_last_record_is_let_through() -> None:
    assert parse_records(b"6 a=b\n\0\0\0") == {b"a": b"b"}


@given(st.dictionaries(st.binary(min_size=1), st.binary()))
def test_records_read_back_as_they_were_written(values: dict[bytes, bytes]) -> None:
    wanted = {
        key: value
        for key, value in values.items()
        if b"=" not in key and not key.startswith(b"GNU.sparse.")
    }
    assert parse_records(tars.pax_records(wanted)) == wanted
