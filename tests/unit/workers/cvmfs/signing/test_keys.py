import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.repositories.repository_builders import FQRN, NOW, keys, save_keys
from workers.cvmfs import KeyRing
from workers.cvmfs.errors import InvalidKeys
from workers.cvmfs.signing.keys import parse_certificate, parse_public_key

SUFFIXES = (".masterkey", ".pub", ".key", ".crt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_keys(keys(), tmp_path / "keys")
    return tmp_path / "keys"


def same(one: KeyRing, other: KeyRing) -> bool:
    return one.files() == other.files()


def test_keys_have_the_names_and_modes_of_the_stock_tools(tmp_path: Path) -> None:
    KeyRing.load_or_create(FQRN, tmp_path, now=NOW)
    assert {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()
    } == {
        f"{FQRN}.masterkey": 0o400,
        f"{FQRN}.pub": 0o444,
        f"{FQRN}.key": 0o400,
        f"{FQRN}.crt": 0o444,
    }


def test_keys_are_the_same_after_reading(folder: Path) -> None:
    assert same(KeyRing.load(FQRN, folder), keys())


def test_keys_are_never_overwritten(folder: Path) -> None:
    assert same(KeyRing.load_or_create(FQRN, folder, now=NOW), keys())
    assert same(KeyRing.load(FQRN, folder), keys())


def test_openssl_reads_the_keys_and_finds_2048_bits(folder: Path) -> None:
    def openssl(*arguments: str) -> str:
        command = ["openssl", *arguments]
        run = subprocess.run(command, capture_output=True, check=True, text=True)
        return run.stdout

    certificate = os.fspath(folder / f"{FQRN}.crt")
    for name in (".masterkey", ".key"):
        private = os.fspath(folder / f"{FQRN}{name}")
        assert "2048 bit" in openssl("rsa", "-in", private, "-text", "-noout")
    assert FQRN in openssl("x509", "-in", certificate, "-subject", "-noout")
    public = openssl("x509", "-in", certificate, "-pubkey", "-noout")
    private = os.fspath(folder / f"{FQRN}.key")
    assert public == openssl("rsa", "-in", private, "-pubout")
    private = os.fspath(folder / f"{FQRN}.masterkey")
    assert (folder / f"{FQRN}.pub").read_text() == openssl(
        "rsa", "-in", private, "-pubout"
    )


def test_keys_are_made_where_there_are_none(tmp_path: Path) -> None:
    made = KeyRing.load_or_create(FQRN, tmp_path / "new/keys", now=NOW)
    assert same(KeyRing.load(FQRN, tmp_path / "new/keys"), made)


def test_a_private_key_that_signs_wrongly_is_refused(folder: Path) -> None:
    numbers = keys().repository_key.private_numbers()
    values = {
        name: getattr(numbers, name)
        for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp", "public_numbers")
    }
    # Both ways of computing a signature go wrong then.
    values |= {"d": values["d"] ^ 2, "dmp1": values["dmp1"] ^ 2}
    damaged = rsa.RSAPrivateNumbers(**values).private_key(
        unsafe_skip_rsa_key_validation=True
    )
    path = folder / f"{FQRN}.key"
    path.unlink()
    path.write_bytes(
        damaged.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
    )
    with pytest.raises(InvalidKeys, match=r"\.key is damaged"):
        KeyRing.load(FQRN, folder)


@pytest.mark.parametrize("missing", SUFFIXES[1:])
def test_half_a_set_of_keys_is_refused_and_left_alone(
    folder: Path, missing: str
) -> None:
    (folder / f"{FQRN}{missing}").unlink()
    before = sorted(folder.iterdir())
    with pytest.raises(InvalidKeys, match=f"but not {missing}"):
        KeyRing.load(FQRN, folder)
    with pytest.raises(InvalidKeys, match=f"but not {missing}"):
        KeyRing.load_or_create(FQRN, folder, now=NOW)
    assert sorted(folder.iterdir()) == before


def test_a_master_key_alone_is_half_a_set_too(folder: Path) -> None:
    for suffix in SUFFIXES[1:]:
        (folder / f"{FQRN}{suffix}").unlink()
    with pytest.raises(InvalidKeys, match=r"\.masterkey but not \.pub, \.key, \.crt"):
        KeyRing.load_or_create(FQRN, folder, now=NOW)


def test_the_master_key_may_be_kept_elsewhere(folder: Path) -> None:
    (folder / f"{FQRN}.masterkey").unlink()
    ring = KeyRing.load(FQRN, folder)
    assert ring.master_key is None
    save_keys(ring, folder.parent / "copy")
    assert same(KeyRing.load(FQRN, folder.parent / "copy"), ring)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_keys_that_do_not_belong_together_are_refused(
    folder: Path, suffix: str
) -> None:
    path = folder / f"{FQRN}{suffix}"
    path.unlink()
    path.write_bytes(keys("other.example.org").files()[suffix])
    with pytest.raises(InvalidKeys, match="is not the"):
        KeyRing.load(FQRN, folder)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n", bytes(100)]
)
def test_files_that_are_no_keys_are_refused(
    folder: Path, suffix: str, content: bytes
) -> None:
    path = folder / f"{FQRN}{suffix}"
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(InvalidKeys):
        KeyRing.load(FQRN, folder)


def test_keys_of_another_sort_are_refused(tmp_path: Path) -> None:
    def openssl(*arguments: str) -> bytes:
        command = ["openssl", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout

    private = tmp_path / "ed25519"
    private.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    name = os.fspath(private)
    with pytest.raises(InvalidKeys, match="not an RSA key"):
        parse_public_key(openssl("pkey", "-in", name, "-pubout"))
    with pytest.raises(InvalidKeys, match="not the certificate of an RSA key"):
        parse_certificate(
            openssl("req", "-new", "-x509", "-key", name, "-subj", "/CN=x")
        )
    files = {**keys().files(), ".key": private.read_bytes()}
    with pytest.raises(InvalidKeys, match="is not an RSA key"):
        KeyRing.of_files(FQRN, files)


@pytest.mark.parametrize("moved", range(5))
def test_a_kill_while_keys_are_moved_into_place_is_repaired(
    folder: Path, moved: int
) -> None:
    complete = folder / f".{FQRN}.new"
    complete.mkdir()
    for suffix in SUFFIXES[moved:]:
        (folder / f"{FQRN}{suffix}").rename(complete / f"{FQRN}{suffix}")
    assert same(KeyRing.load(FQRN, folder), keys())
    assert not complete.exists()


def test_the_first_of_two_sets_made_at_once_stays(folder: Path) -> None:
    late = folder / f".{FQRN}.new"
    late.mkdir()
    for suffix, content in keys("other.example.org").files().items():
        (late / f"{FQRN}{suffix}").write_bytes(content)
    assert same(KeyRing.load_or_create(FQRN, folder, now=NOW), keys())
    assert not late.exists()


@pytest.mark.slow
def test_many_may_ask_for_new_keys_at_once(tmp_path: Path) -> None:
    rings: list[KeyRing] = []

    def ask() -> None:
        rings.append(KeyRing.load_or_create(FQRN, tmp_path, now=NOW))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rings) == 4
    assert all(same(ring, rings[0]) for ring in rings)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidKeys):
        KeyRing.load_or_create(FQRN, tmp_path / "file/keys", now=NOW)


def test_the_secret_is_the_key_s_whatever_its_file_looks_like(folder: Path) -> None:
    ring = KeyRing.load(FQRN, folder)
    files = keys().files()
    files[".key"] = ring.repository_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    assert files[".key"] != keys().files()[".key"]
    assert KeyRing.of_files(FQRN, files).secret() == ring.secret() == keys().secret()
    assert keys("other.example.org").secret() != ring.secret()


def test_keys_are_there_as_soon_as_one_is(folder: Path, tmp_path: Path) -> None:
    assert not KeyRing.is_there(FQRN, tmp_path / "nowhere")
    assert not KeyRing.is_there("other.example.org", folder)
    (folder / f"{FQRN}.masterkey").rename(tmp_path / "kept elsewhere")
    assert KeyRing.is_there(FQRN, folder)
