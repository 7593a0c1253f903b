import contextlib
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs import ContentHash, RepositoryManifest
from workers.cvmfs.errors import FormatError, Malformed, NotTrusted
from workers.cvmfs.signing.manifest import verify_manifest
from workers.cvmfs.values.hash import Algorithm

HASHES = st.builds(
    ContentHash, st.binary(min_size=20, max_size=20), st.sampled_from(Algorithm)
)
NUMBERS = st.integers(0, 2**62)
MANIFESTS = st.builds(
    RepositoryManifest,
    fqrn=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,59}", fullmatch=True),
    root_catalog=HASHES,
    root_catalog_size=NUMBERS,
    revision=NUMBERS,
    timestamp=NUMBERS,
    ttl=NUMBERS,
    certificate=HASHES,
    history=st.none() | HASHES,
    metainfo=st.none() | HASHES,
    reflog=st.none() | HASHES,
    is_garbage_collectable=st.booleans(),
    has_alternative_names=st.booleans(),
)

ROOT = ContentHash(bytes(range(20)))
MANIFEST = RepositoryManifest(
    fqrn=FQRN,
    root_catalog=ROOT,
    root_catalog_size=16384,
    revision=3,
    timestamp=NOW,
    ttl=60,
    certificate=ContentHash(bytes(range(1, 21))),
    history=ContentHash(bytes(range(2, 22))),
    metainfo=ContentHash(bytes(range(3, 23))),
    reflog=ContentHash(bytes(range(4, 24))),
    is_garbage_collectable=True,
)


def signed(text: bytes) -> bytes:
    """Give a text the form of a signed file, with a signature that is none."""
    return text + b"--\n" + hashlib.sha1(text).hexdigest().encode() + b"\nsignature"


def test_the_lines_are_those_of_cvmfs_in_its_order() -> None:
    assert MANIFEST.text().decode().splitlines() == [
        "C000102030405060708090a0b0c0d0e0f10111213",
        "B16384",
        "Rd41d8cd98f00b204e9800998ecf8427e",
        "D60",
        "S3",
        "Gyes",
        "Ano",
        f"N{FQRN}",
        "X0102030405060708090a0b0c0d0e0f1011121314",
        "H02030405060708090a0b0c0d0e0f101112131415",
        f"T{NOW}",
        "M030405060708090a0b0c0d0e0f10111213141516",
        "Y0405060708090a0b0c0d0e0f1011121314151617",
    ]


@given(MANIFESTS)
def test_a_manifest_read_back_is_the_same(manifest: RepositoryManifest) -> None:
    assert RepositoryManifest.parse(signed(manifest.text())) == manifest


def test_a_signed_manifest_is_verified() -> None:
    data = MANIFEST.sign(keys().repository_key)
    public_key = keys().repository_key.public_key()
    assert verify_manifest(data, public_key) == MANIFEST


@pytest.mark.parametrize("part", ["text", "hash", "signature", "key"])
def test_a_manifest_that_was_altered_is_not_trusted(part: str) -> None:
    data = MANIFEST.sign(keys().repository_key)
    public_key = keys().repository_key.public_key()
    if part == "text":
        data = data.replace(b"S3\n", b"S4\n")
    elif part == "hash":
        data = replace(MANIFEST, revision=4).sign(keys().repository_key)
        text = MANIFEST.text()
        data = text + data[data.index(b"--\n") :]
    elif part == "signature":
        data = data[:-1] + bytes([data[-1] ^ 1])
    else:
        public_key = keys("other.example.org").repository_key.public_key()
    with pytest.raises(NotTrusted):
        verify_manifest(data, public_key)


def test_lines_may_come_in_any_order_and_unknown_ones_are_ignored() -> None:
    lines = sorted(MANIFEST.text().splitlines(keepends=True))
    text = b"".join([b"S1\n", *lines, b"Zreserved\n", b"L" + b"0" * 40 + b"\n"])
    assert RepositoryManifest.parse(signed(text)) == MANIFEST


@pytest.mark.parametrize("letter", "CDRSNX")
def test_a_manifest_without_an_indispensable_line_is_refused(letter: str) -> None:
    lines = MANIFEST.text().splitlines(keepends=True)
    text = b"".join(line for line in lines if not line.startswith(letter.encode()))
    with pytest.raises(Malformed, match=f"without the lines {letter}"):
        RepositoryManifest.parse(signed(text))


@pytest.mark.parametrize(
    "line", [b"Sx", b"S-1", b"S", b"S" + b"9" * 20, b"Cabc", b"Rabc", b"N\xff", b"T "]
)
def test_a_line_that_is_not_readable_is_refused(line: bytes) -> None:
    with pytest.raises(Malformed):
        RepositoryManifest.parse(signed(MANIFEST.text() + line + b"\n"))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_our_own_error(data: bytes) -> None:
    for candidate in (data, signed(data), signed(MANIFEST.text() + data + b"\n")):
        with contextlib.suppress(FormatError):
            verify_manifest(candidate, keys().repository_key.public_key())
        with contextlib.suppress(FormatError):
            RepositoryManifest.parse(candidate)
