from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import LocalStorage, load_head
from workers.cvmfs.errors import HeadUnreadable, NotFound, NotTrusted
from workers.cvmfs.signing.trust import verify_head


@pytest.fixture
def base(tmp_path: Path) -> Path:
    new_repository(tmp_path)
    return tmp_path


def test_a_client_needs_the_public_key_only(base: Path) -> None:
    manifest, whitelist = load_head(LocalStorage(base), FQRN, keys().public_key)
    assert manifest.fqrn == whitelist.fqrn == FQRN
    assert whitelist.is_valid_at(NOW)


def test_each_link_of_the_chain_is_tested(base: Path) -> None:
    def file(name: str) -> bytes:
        return (base / name).read_bytes()

    manifest, whitelist = file(".cvmfspublished"), file(".cvmfswhitelist")
    good = (FQRN, manifest, keys().certificate_pem, whitelist, keys().public_key)
    verify_head(*good)
    other = keys("other.example.org")
    with pytest.raises(NotTrusted, match="manifest is of"):
        verify_head("other.example.org", *good[1:])
    with pytest.raises(NotTrusted, match="certificate's key"):
        verify_head(FQRN, manifest, other.certificate_pem, *good[3:])
    with pytest.raises(NotTrusted, match="not a certificate"):
        verify_head(FQRN, manifest, b"junk", *good[3:])
    with pytest.raises(NotTrusted, match="master key"):
        verify_head(*good[:4], other.public_key)
    with pytest.raises(NotTrusted, match="hash that was signed"):
        verify_head(*good[:3], whitelist.replace(b"N", b"M", 1), good[4])


def test_the_parts_of_a_head_must_be_there(base: Path) -> None:
    storage = LocalStorage(base)
    (certificate,) = (base / "data").glob("??/*X")
    stored = certificate.read_bytes()
    certificate.write_bytes(stored[:-1])
    with pytest.raises(HeadUnreadable, match=r"^the certificate: .* whole"):
        load_head(storage, FQRN, keys().public_key)
    certificate.unlink()
    with pytest.raises(NotFound):
        load_head(storage, FQRN, keys().public_key)
    certificate.write_bytes(stored)
    (base / ".cvmfswhitelist").unlink()
    with pytest.raises(NotFound):
        load_head(storage, FQRN, keys().public_key)
    (base / ".cvmfspublished").unlink()
    with pytest.raises(NotFound):
        load_head(storage, FQRN, keys().public_key)


@pytest.mark.parametrize("name", [".cvmfspublished", ".cvmfswhitelist"])
def test_a_head_that_is_cut_short_is_the_storage_s_fault(base: Path, name: str) -> None:
    file = base / name
    whole = file.read_bytes()
    for length in (0, 1, 40, whole.index(b"\n--\n"), whole.index(b"\n--\n") + 30):
        file.write_bytes(whole[:length])
        with pytest.raises(HeadUnreadable, match=f"^{name}: .* whole"):
            load_head(LocalStorage(base), FQRN, keys().public_key)
    # Of the signature some is left.
    file.write_bytes(whole[:-1])
    with pytest.raises(NotTrusted):
        load_head(LocalStorage(base), FQRN, keys().public_key)
    file.write_bytes(whole)
    load_head(LocalStorage(base), FQRN, keys().public_key)
