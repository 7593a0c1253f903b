import contextlib
import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs import ContentHash
from workers.cvmfs.errors import FormatError, Malformed, NotTrusted, WhitelistExpired
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.whitelist import (
    Whitelist,
    fingerprint,
    verify_whitelist,
    write_whitelist,
)
from workers.cvmfs.values.hash import Algorithm

DAY = 24 * 3600


def written(now: int = NOW, ring: KeyRing | None = None) -> bytes:
    ring = ring or keys()
    assert ring.master_key is not None
    prints = [fingerprint(ring.certificate)]
    return write_whitelist(FQRN, prints, ring.master_key, now=now)


def signed(text: bytes) -> bytes:
    return text + b"--\n" + hashlib.sha1(text).hexdigest().encode() + b"\nsignature"


def test_the_lines_are_those_of_cvmfs() -> None:
    lines = written().split(b"\n--\n")[0].decode().split("\n")
    der = keys().certificate.public_bytes(Encoding.DER)
    assert lines == [
        "20270115080000",
        "E20270214080000",
        f"N{FQRN}",
        ":".join(f"{byte:02X}" for byte in hashlib.sha1(der).digest()),
    ]
    assert len(lines[0]) == 14
    assert len(lines[1]) == 15


def test_a_whitelist_is_verified_and_lets_its_certificate_speak() -> None:
    whitelist = verify_whitelist(written(), keys().public_key)
    whitelist.check(FQRN, keys().certificate)
    whitelist.check_date(NOW)
    assert whitelist.expires == datetime.fromtimestamp(NOW + 30 * DAY, UTC)


def test_openssl_finds_the_bare_hash_in_the_signature(tmp_path: Path) -> None:
    text, rest = written().split(b"\n--\n", 1)
    line, signature = rest.split(b"\n", 1)
    assert line == hashlib.sha1(text + b"\n").hexdigest().encode()
    (tmp_path / "signature").write_bytes(signature)
    (tmp_path / "public").write_bytes(keys().files()[".pub"])
    command = "openssl pkeyutl -verifyrecover -pubin -inkey public -in signature"
    recovered = subprocess.run(
        command.split(), cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert recovered == line


def test_the_signature_is_padded_as_pkcs1_type_1_without_a_digest_info() -> None:
    line, signature = written().split(b"\n--\n", 1)[1].split(b"\n", 1)
    numbers = keys().public_key.public_numbers()
    number = pow(int.from_bytes(signature), numbers.e, numbers.n)
    padded = number.to_bytes(256)
    assert padded == b"\0\1" + b"\xff" * (253 - len(line)) + b"\0" + line


def test_a_signature_of_openssl_is_accepted(tmp_path: Path) -> None:
    text = written().split(b"--\n", 1)[0]
    line = hashlib.sha1(text).hexdigest().encode()
    (tmp_path / "hash").write_bytes(line)
    (tmp_path / "key").write_bytes(keys().files()[".masterkey"])
    signature = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-inkey", "key", "-in", "hash"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    ).stdout
    data = text + b"--\n" + line + b"\n" + signature
    assert data == written()
    verify_whitelist(data, keys().public_key)


@pytest.mark.parametrize("part", ["text", "signature", "key", "another text's"])
def test_a_whitelist_that_was_altered_is_not_trusted(part: str) -> None:
    data = written()
    public_key = keys().public_key
    if part == "text":
        data = data.replace(b"E2027", b"E2099")
    elif part == "signature":
        data = data[:-1] + bytes([data[-1] ^ 1])
    elif part == "key":
        public_key = keys("other.example.org").public_key
    else:
        later = written(NOW + 1)
        data = written()[: written().index(b"--\n")] + later[later.index(b"--\n") :]
    with pytest.raises(NotTrusted):
        verify_whitelist(data, public_key)


def test_a_whitelist_is_for_one_repository_and_the_certificates_it_names() -> None:
    whitelist = verify_whitelist(written(), keys().public_key)
    with pytest.raises(NotTrusted, match=r"not other\.example\.org"):
        whitelist.check("other.example.org", keys().certificate)
    with pytest.raises(NotTrusted, match="does not name the certificate"):
        whitelist.check(FQRN, keys("other.example.org").certificate)


def test_it_ends_at_the_start_of_its_last_hour() -> None:
    whitelist = Whitelist(FQRN, datetime(2027, 1, 1, 12, 59, 59, tzinfo=UTC), ())
    noon = int(datetime(2027, 1, 1, 12, tzinfo=UTC).timestamp())
    assert whitelist.is_valid_at(noon - 1)
    assert not whitelist.is_valid_at(noon)
    with pytest.raises(WhitelistExpired, match="2027-01-01 12:00"):
        whitelist.check_date(noon)


def test_fingerprints_may_have_comments_and_other_algorithms() -> None:
    der = keys().certificate.public_bytes(Encoding.DER)
    text = hashlib.shake_128(der).hexdigest(20).upper()
    colons = ":".join(text[index : index + 2] for index in range(0, 40, 2))
    head = f"20270101000000\nE20270201000000\nN{FQRN}\n"
    for comment in ("", " # laptop", "#x", "\tx"):
        data = signed(f"{head}{colons}-SHAKE128{comment}\n".encode())
        whitelist = Whitelist.parse(data)
        assert whitelist.fingerprints == (ContentHash.of(der, Algorithm.SHAKE128),)
        whitelist.check(FQRN, keys().certificate)


@pytest.mark.parametrize(
    "text",
    [
        "20270101000000\n",
        "20270101000000\nE20270201000000\n",
        "20270101000000\nE2027020100000\nNx\n",
        "20270101000000\nE20271301000000\nNx\n",
        "20270101000000\nE\u06620270201000000\nNx\n",
        "20270101000000\nE20270201000000\nNx\nAB:CD\n",
        "20270101000000\nE20270201000000\nx\n",
    ],
)
def test_a_whitelist_that_does_not_follow_the_format_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Whitelist.parse(signed(text.encode()))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_whitelist_or_our_own_error(data: bytes) -> None:
    head = b"20270101000000\nE20270201000000\nNx\n"
    for candidate in (data, signed(data), signed(head + data + b"\n")):
        with contextlib.suppress(FormatError):
            Whitelist.parse(candidate)
        with contextlib.suppress(FormatError):
            verify_whitelist(candidate, keys().public_key)
