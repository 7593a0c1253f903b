"""A new repository is complete, and made once."""

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.repositories.crashing_storage import (
    MORE_THAN_ALL_WRITES,
    CrashingStorage,
    SimulatedCrash,
    crash_with_an_error,
)
from tests.support.repositories.independent_audit import (
    audit,
    manifest_fields,
    snapshot_of_files,
    stored_object,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import Repository
from workers.cvmfs.errors import NotFound, RepositoryExists


def count_writes(base: Path, run: Callable[[CrashingStorage], object]) -> int:
    storage = CrashingStorage(base, MORE_THAN_ALL_WRITES, crash_with_an_error)
    run(storage)
    return MORE_THAN_ALL_WRITES - storage.writes_left


@pytest.mark.slow
def test_making_a_repository_can_fail_at_any_write(tmp_path: Path) -> None:
    writes = count_writes(
        tmp_path / "count", lambda storage: new_repository(tmp_path, storage)
    )
    assert writes > 8
    for number in range(writes):
        base = tmp_path / str(number)
        with pytest.raises(SimulatedCrash):
            new_repository(base, CrashingStorage(base, number, crash_with_an_error))
        with pytest.raises((NotFound, FileNotFoundError)):
            manifest_fields(base)
        new_repository(base)
        audit(base)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_a_new_repository_has_all_that_a_good_citizen_has(
    repository: Repository, tmp_path: Path
) -> None:
    found = audit(tmp_path)
    assert found.modes == {b"": stat.S_IFDIR | 0o755}
    assert "".join(found.fields) == "CBRDSGANXHTMY"
    assert found.fields["N"] == FQRN
    assert found.fields["S"] == "1"
    assert found.fields["D"] == "60"
    assert found.fields["G"] == "yes"
    assert found.fields["T"] == str(NOW)
    assert len(list((tmp_path / "data").iterdir())) == 257
    assert (tmp_path / ".cvmfs_master_replica").stat().st_size > 0
    assert (tmp_path / "data/e8" / "ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78").exists()
    assert stored_object(tmp_path, found.fields["X"], "X") == keys().certificate_pem
    assert b'"description"' in stored_object(tmp_path, found.fields["M"], "M")
    der = keys().certificate.public_bytes(Encoding.DER)
    text = ":".join(f"{byte:02X}" for byte in hashlib.sha1(der).digest())
    assert text.encode() in (tmp_path / ".cvmfswhitelist").read_bytes()


def test_a_repository_is_made_once(repository: Repository, tmp_path: Path) -> None:
    before = snapshot_of_files(tmp_path)
    with pytest.raises(RepositoryExists):
        new_repository(tmp_path)
    assert snapshot_of_files(tmp_path) == before
