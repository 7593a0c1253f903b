"""A receipt says what was published; a damaged one costs only what it said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.formats.receipt import (
    digest_of,
    formats_of,
    former_thin_of,
    platforms_of,
    receipt_bytes,
    thin_of,
)

DIGEST = f"sha256:{'1' * 64}"
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
    "instead_of": f"sha256:{'2' * 64}",
    "platforms": ["linux/amd64", "linux/arm64"],
    "thin": "r.example/thin/a:v1",
}


def test_a_receipt_says_what_was_published() -> None:
    assert digest_of(FULL) == DIGEST
    assert formats_of(FULL) == ["flat", "layers"]
    assert list(map(str, platforms_of(FULL))) == ["linux/amd64", "linux/arm64"]
    assert str(thin_of(FULL)) == "r.example/thin/a:v1"
    assert list(map(str, former_thin_of(FULL))) == ["r.example/thin/a:v0"]


def test_a_receipt_is_written_as_ever() -> None:
    """Receipts that are published already have these keys, in this order."""
    assert receipt_bytes({"formats": ["flat"], "digest": DIGEST, "converter": 3}) == (
        b'{\n "converter": 3,\n "digest": "' + DIGEST.encode() + b'",\n'
        b' "formats": [\n  "flat"\n ]\n}\n'
    )


@given(st.dictionaries(st.text(), JSON))
def test_every_key_is_kept(receipt: dict[str, object]) -> None:
    assert json.loads(receipt_bytes(receipt)) == receipt


def test_of_an_empty_receipt_nothing_is_known() -> None:
    assert digest_of({}) is None
    assert formats_of({}) == []
    assert platforms_of({}) == []
    assert thin_of({}) is None
    assert former_thin_of({}) == []


@pytest.mark.parametrize("digest", [None, 5, "", "latest", "sha256:12", [DIGEST]])
def test_what_is_no_digest_is_not_known(digest: object) -> None:
    assert digest_of({**FULL, "digest": digest}) is None


@pytest.mark.parametrize("named", [None, 5, "r.example/a:v1", {"a": 1}])
def test_a_list_that_is_none_is_empty(named: object) -> None:
    damaged = {**FULL, "formats": named, "platforms": named, "former_thin": named}
    assert formats_of(damaged) == []
    assert platforms_of(damaged) == []
    assert former_thin_of(damaged) == []


def test_one_damaged_name_costs_no_other() -> None:
    named = ["r.example/thin/a:v0", "no name at all", 5, "r.example/thin/a:v2"]
    kept = former_thin_of({**FULL, "former_thin": named})
    assert list(map(str, kept)) == ["r.example/thin/a:v0", "r.example/thin/a:v2"]
    assert thin_of({**FULL, "thin": "no name at all"}) is None
