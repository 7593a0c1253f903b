"""The head moves forward only, signed for a whitelist that is good."""

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support.repositories.independent_audit import (
    audit,
    manifest_fields,
    raw_reflog,
    snapshot_of_files,
)
from tests.support.repositories.repository_builders import (
    NOW,
    keys,
    new_repository,
)
from workers.cvmfs import PutLink, Repository
from workers.cvmfs.errors import (
    Damaged,
    FormatError,
    WhitelistExpired,
)

DAY = 24 * 3600
LINK = PutLink(b"/link", b"target")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_time_and_revision_never_go_back(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit([LINK], now=NOW + 1000)
    back = repository.commit([PutLink(b"/link", b"b")], now=NOW + 10)
    assert back.timestamp == NOW + 1000
    assert back.number == 3
    assert repository.read().root_catalog.last_modified <= back.timestamp
    audit(tmp_path)


def test_an_expired_whitelist_stops_commits_until_it_is_renewed(
    repository: Repository, tmp_path: Path
) -> None:
    late = NOW + 31 * DAY
    before = snapshot_of_files(tmp_path)
    with pytest.raises(WhitelistExpired):
        repository.commit([LINK], now=late)
    assert snapshot_of_files(tmp_path) == before
    assert repository.read().lookup(b"/link") is None
    assert repository.renew_whitelist(now=late).is_valid_at(late + 29 * DAY)
    assert repository.whitelist().is_valid_at(late + 29 * DAY)
    assert repository.commit([LINK], now=late).is_new
    audit(tmp_path)


def test_a_repository_without_history_gets_one(
    repository: Repository, tmp_path: Path
) -> None:
    history = manifest_fields(tmp_path)["H"]
    text = (tmp_path / ".cvmfspublished").read_bytes().split(b"--\n")[0]
    text = b"".join(
        line for line in text.splitlines(keepends=True) if line[:1] not in b"HMY"
    )
    digest = hashlib.sha1(text).hexdigest().encode()
    signature = keys().repository_key.sign(digest, padding.PKCS1v15(), hashes.SHA1())
    (tmp_path / ".cvmfspublished").write_bytes(
        text + b"--\n" + digest + b"\n" + signature
    )
    (tmp_path / ".cvmfsreflog").unlink()
    assert repository.tags() == []
    repository.commit([LINK], now=NOW)
    assert [tag.name for tag in repository.tags()] == ["trunk"]
    assert manifest_fields(tmp_path)["H"] != history
    assert len([k for k in raw_reflog(tmp_path).values() if k == 0]) == 2


def test_a_damaged_head_stops_a_commit_and_changes_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    fields = manifest_fields(tmp_path)
    digest = fields["C"]
    path = tmp_path / "data" / digest[:2] / (digest[2:] + "C")
    stored = path.read_bytes()
    path.write_bytes(stored[:-1] + b"\0")
    before = snapshot_of_files(tmp_path)
    with pytest.raises(Damaged):
        repository.commit([LINK], now=NOW)
    assert snapshot_of_files(tmp_path) == before
    path.write_bytes(stored)
    (tmp_path / ".cvmfspublished").write_bytes(b"junk")
    with pytest.raises(FormatError):
        repository.commit([LINK], now=NOW)
