"""A receipt says what was published; a damaged one costs only what it said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.formats.receipt import NO_RECEIPT, Receipt
from workers.images.platforms import Platform

DIGEST, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FULL: dict[str, object] = {
    "converter": 3,
    "digest": DIGEST,
    "formats": ["flat", "layers"],
    "former_thin": ["r.example/thin/a:v0"],
    "instead_of": OTHER,
    "platforms": ["linux/amd64", "linux/arm64"],
    "thin": "r.example/thin/a:v1",
}


def parsed(**changes: object) -> Receipt:
    receipt = Receipt.parse(json.dumps({**FULL, **changes}).encode())
    assert receipt is not None
    return receipt


def test_a_receipt_says_what_was_published() -> None:
    receipt = parsed()
    assert receipt.digest == DIGEST
    assert receipt.formats == ("flat", "layers")
    assert list(map(str, receipt.platforms)) == ["linux/amd64", "linux/arm64"]
    assert receipt.restored_instead_of == OTHER
    assert str(receipt.thin) == "r.example/thin/a:v1"
    assert list(map(str, receipt.former_thin)) == ["r.example/thin/a:v0"]


def test_a_receipt_is_written_as_ever() -> None:
    """Receipts that are published already have these keys, in this order."""
    receipt = Receipt(DIGEST, 3, (Platform("linux", "amd64"),), ("flat",))
    assert receipt.document() == (
        b'{\n "converter": 3,\n "digest": "' + DIGEST.encode() + b'",\n'
        b' "formats": [\n  "flat"\n ],\n "platforms": [\n  "linux/amd64"\n ]\n}\n'
    )


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*FULL, "until", "new"]), JSON))
def test_whatever_is_there_is_read_or_counts_as_not_said(said: object) -> None:
    receipt = Receipt.parse(json.dumps(said).encode())
    assert receipt is not None
    assert Receipt.parse(receipt.document()) == receipt


@pytest.mark.parametrize("raw", [b"", b"[1, 2]", b"5", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_receipt_is_none(raw: bytes) -> None:
    assert Receipt.parse(raw) is None


def test_what_a_later_version_adds_stays_and_makes_no_difference() -> None:
    receipt = parsed(new={"a": 1})
    assert json.loads(receipt.document())["new"] == {"a": 1}
    assert json.loads(receipt.remembered(7).document())["new"] == {"a": 1}
    assert receipt == parsed()


def test_of_an_empty_receipt_nothing_is_known() -> None:
    assert Receipt() == NO_RECEIPT
    assert NO_RECEIPT.digest is None
    assert NO_RECEIPT.formats == ()


def test_what_is_remembered_says_until_when_and_not_what_was_upstream() -> None:
    remembered = parsed().remembered(1_700_000_000)
    assert (remembered.until, remembered.restored_instead_of) == (1_700_000_000, None)
    assert json.loads(remembered.document())["until"] == 1_700_000_000


def test_notes_are_read_back_and_make_no_difference() -> None:
    receipt = parsed(notes=["It has no layers.", "It is old."])
    assert receipt.notes == ("It has no layers.", "It is old.")
    read = Receipt.parse(receipt.document())
    assert read is not None
    assert read.notes == receipt.notes
    assert receipt == parsed()


@pytest.mark.parametrize("digest", [None, 5, "", "latest", "sha256:12", [DIGEST]])
def test_what_is_no_digest_is_not_known(digest: object) -> None:
    assert parsed(digest=digest).digest is None


@pytest.mark.parametrize("named", [None, 5, "r.example/a:v1", {"a": 1}])
def test_a_list_that_is_none_is_empty(named: object) -> None:
    damaged = parsed(formats=named, platforms=named, former_thin=named)
    assert (damaged.platforms, damaged.former_thin) == ((), ())
    # Of the time when there was one format, and receipts did not say.
    assert damaged.formats == ("flat",)


def test_one_damaged_name_costs_no_other() -> None:
    named = ["r.example/thin/a:v0", "no name at all", 5, "r.example/thin/a:v2"]
    kept = parsed(former_thin=named, thin="no name at all")
    assert list(map(str, kept.former_thin)) == [named[0], named[3]]
    assert kept.thin is None
