"""A seal holds for one secret, one repository, one use and one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.publishing.seal import BrokenSeal, Seal

SECRET, FQRN = b"the signing key", "unpacked.example.org"
ANY = st.text(st.characters(codec=None), max_size=40)


@pytest.fixture(scope="module")
def seal() -> Seal:
    return Seal(SECRET, FQRN, "entries")


@given(place=st.text(max_size=40), text=st.text(max_size=40))
def test_what_was_sealed_is_opened_by_all_who_know_the_secret(
    seal: Seal, place: str, text: str
) -> None:
    sealed = seal.close(place, text)
    assert Seal(SECRET, FQRN, "entries").open(place, sealed) == text


@pytest.mark.parametrize(
    "other",
    [
        Seal(b"another key", FQRN, "entries"),
        Seal(SECRET, "other.example.org", "entries"),
        Seal(SECRET, FQRN, "answers"),
    ],
    ids=["secret", "repository", "purpose"],
)
def test_another_secret_repository_or_purpose_has_another_seal(
    seal: Seal, other: Seal
) -> None:
    with pytest.raises(BrokenSeal):
        seal.open("place", other.close("place", "text"))


def test_a_sealed_text_holds_for_its_place_alone(seal: Seal) -> None:
    sealed = seal.close("ab", "c")
    code = sealed.partition("\n")[0]
    for place, text in (("a", "bc"), ("abc", ""), ("", "abc"), ("ab", "d")):
        with pytest.raises(BrokenSeal):
            seal.open(place, f"{code}\n{text}")


@given(sealed=st.one_of(st.text(max_size=99), st.binary(max_size=99)))
def test_any_bytes_at_all_are_no_seal(seal: Seal, sealed: str | bytes) -> None:
    if isinstance(sealed, bytes):
        sealed = sealed.decode(errors="surrogateescape")
    with pytest.raises(BrokenSeal):
        seal.open("place", sealed)


def test_the_key_is_the_one_of_rfc_5869_and_2104(seal: Seal) -> None:
    # openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt key:'the signing key' \
    #   -kdfopt info:cvmfs-webhook/entries/unpacked.example.org -kdfopt salt: HKDF
    # then: printf 5:placetext | openssl mac -digest SHA256 -macopt hexkey:… HMAC
    assert seal.close("place", "text").partition("\n")[0] == EXPECTED


EXPECTED = "0a3ca27520caa928a6e33d858d7492cfaff1f37c245cde6322df1699e7775c11"
