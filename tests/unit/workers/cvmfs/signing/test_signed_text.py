"""A signed file is text, its hash and a signature, in this order."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    keys,
    new_repository,
)
from workers.cvmfs import RepositoryManifest
from workers.cvmfs.errors import Malformed


def test_openssl_verifies_the_signature_over_the_text_of_the_hash(
    tmp_path: Path,
) -> None:
    new_repository(tmp_path)
    data = (tmp_path / ".cvmfspublished").read_bytes()
    text, rest = data.split(b"\n--\n", 1)
    line, signature = rest.split(b"\n", 1)
    assert line == hashlib.sha1(text + b"\n").hexdigest().encode()
    for name, content in (
        ("hash", line),
        ("signature", signature),
        ("certificate", keys().certificate_pem),
    ):
        (tmp_path / name).write_bytes(content)
    certificate = os.fspath(tmp_path / "certificate")
    public = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-pubkey", "-noout"],
        capture_output=True,
        check=True,
    ).stdout
    (tmp_path / "public").write_bytes(public)
    command = "openssl dgst -sha1 -verify public -signature signature hash"
    answer = subprocess.run(
        command.split(), cwd=tmp_path, capture_output=True, check=True, text=True
    ).stdout
    assert answer == "Verified OK\n"


@pytest.mark.parametrize("data", [b"", b"C\n", b"C\n--\n", b"C\n--\n\nx", b"--\nab\nx"])
def test_a_file_with_a_part_missing_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        RepositoryManifest.parse(data)
