import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.cvmfs.errors import FormatError, Malformed
from workers.cvmfs.values.xattrs import decode_xattrs, encode_xattrs

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: 0 not in name)
XATTRS = st.dictionaries(NAMES, st.binary(max_size=255), max_size=8)


@given(XATTRS)
def test_what_was_encoded_is_decoded(pairs: dict[bytes, bytes]) -> None:
    xattrs = tuple(sorted(pairs.items()))
    blob, lost = encode_xattrs(xattrs)
    assert lost == 0
    assert (decode_xattrs(blob) if blob is not None else ()) == xattrs


def test_the_layout_is_the_one_of_cvmfs() -> None:
    blob, _ = encode_xattrs(((b"user.b", b"\0v"), (b"user.a", b"")))
    assert blob == b"\x01\x02\x06\x00user.a\x06\x02user.b\0v"


def test_no_attributes_are_null_and_not_an_empty_list() -> None:
    assert encode_xattrs(()) == (None, 0)
    assert encode_xattrs(((b"", b"v"),)) == (None, 1)


@pytest.mark.parametrize(
    "pair",
    [
        (b"", b""),
        (b"n" * 256, b""),
        (b"user.a", b"v" * 256),
        (b"user\0a", b""),
    ],
)
def test_what_the_format_cannot_hold_is_left_out_and_counted(
    pair: tuple[bytes, bytes],
) -> None:
    kept = (b"user.kept", b"v" * 255)
    blob, lost = encode_xattrs((pair, kept))
    assert lost == 1
    assert blob is not None
    assert decode_xattrs(blob) == (kept,)


def test_the_256th_attribute_is_left_out_and_counted() -> None:
    xattrs = tuple((b"user.%03d" % number, b"") for number in range(300))
    blob, lost = encode_xattrs(xattrs)
    assert lost == 45
    assert blob is not None
    assert decode_xattrs(blob) == xattrs[:255]


@pytest.mark.parametrize(
    "blob", [b"", b"\x01", b"\x02\x00", b"\x01\x01", b"\x01\x01\x00\x00", b"\x01\x00x"]
)
def test_a_list_that_is_none_is_refused(blob: bytes) -> None:
    with pytest.raises(Malformed):
        decode_xattrs(blob)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_list_or_our_own_error(blob: bytes) -> None:
    with contextlib.suppress(FormatError):
        decode_xattrs(blob)


@given(st.binary(max_size=64).map(lambda rest: b"\x01\x02\x01\x01ab" + rest))
def test_any_damaged_list_is_a_list_or_our_own_error(blob: bytes) -> None:
    with contextlib.suppress(FormatError):
        decode_xattrs(blob)
