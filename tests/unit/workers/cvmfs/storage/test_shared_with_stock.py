"""The locks of the stock tools and their reflog checksum, without the stock tools.

What those do at the same time is in ``tests/compat/test_adoption.py``.
"""

import os
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
)
from workers.cvmfs import LocalStorage, PutLink, Repository
from workers.cvmfs.errors import StorageFailed
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.cvmfs.storage.storage import MANIFEST, REFLOG
from workers.cvmfs.values.hash import ContentHash


@pytest.fixture
def storage(tmp_path: Path, spool: Path) -> StockStorage:
    inner = LocalStorage(tmp_path / "base")
    inner.prepare()
    return StockStorage(inner, spool, FQRN, patience_seconds=0)


@pytest.fixture
def flag(spool: Path) -> Path:
    return spool / "in_transaction.lock"


def take(storage: StockStorage) -> None:
    with storage.lock():
        pass


def repository(storage: StockStorage | LocalStorage) -> Repository:
    return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)


@pytest.fixture
def published(storage: StockStorage) -> StockStorage:
    Repository.create(FQRN, storage, keys(), now=NOW, is_mountpoint=is_mountpoint)
    return storage


def checksum(spool: Path) -> str:
    return (spool / "reflog.chksum").read_text()


def test_the_checksum_is_that_of_the_reflog_and_the_manifest_names_it(
    published: StockStorage, spool: Path
) -> None:
    for name in (b"/one", b"/two"):
        repository(published).commit([PutLink(name, b"target")], now=NOW)
        assert checksum(spool) == str(ContentHash.of(published.get(REFLOG)))
        assert checksum(spool) == str(repository(published).head().reflog)


def test_the_stock_tools_word_for_the_reflog_is_passed_on(
    published: StockStorage, spool: Path
) -> None:
    known = repository(published).head().reflog
    assert published.reflog_checksum() == known
    for wrong in (b"", b"\xff", b"not a hash"):
        (spool / "reflog.chksum").write_bytes(wrong)
        assert published.reflog_checksum() is None
    (spool / "reflog.chksum").unlink()
    assert published.reflog_checksum() is None


class Killed(Exception):
    """What a killed process does not live to see."""


class MortalStorage(LocalStorage):
    """Dies when one of the mutable files is to be replaced, or right after."""

    def __init__(self, base: Path, path: str, *, after: bool) -> None:
        super().__init__(base)
        self._path = path
        self._after = after

    def replace(self, path: str, data: bytes) -> None:
        if path == self._path:
            if self._after:
                super().replace(path, data)
            raise Killed
        super().replace(path, data)


@pytest.mark.parametrize(
    ("path", "after"), [(REFLOG, False), (REFLOG, True), (MANIFEST, False)]
)
def test_killed_between_reflog_checksum_and_manifest_the_next_commit_repairs(
    published: StockStorage, spool: Path, tmp_path: Path, path: str, *, after: bool
) -> None:
    before = repository(published).head()
    mortal = MortalStorage(tmp_path / "base", path, after=after)
    with pytest.raises(Killed):
        repository(StockStorage(mortal, spool, FQRN)).commit(
            [PutLink(b"/killed", b"target")], now=NOW
        )
    assert repository(published).head() == before
    repository(published).commit([], now=NOW)
    assert checksum(spool) == str(ContentHash.of(published.get(REFLOG)))
    assert checksum(spool) == str(repository(published).head().reflog)


def test_a_spool_that_may_not_be_written_is_named_with_its_owner(
    storage: StockStorage, spool: Path, tmp_path: Path
) -> None:
    missing = StockStorage(storage.inner, tmp_path / "gone", FQRN)
    with pytest.raises(StorageFailed, match="gone: No such file"):
        take(missing)
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    spool.chmod(0o755)
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(StorageFailed, match=r"; run as .*owner"):
            take(storage)
    finally:
        os.seteuid(0)


def test_what_root_makes_in_the_spool_is_the_owner_s(
    storage: StockStorage, spool: Path, flag: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(spool, 1234, 5678)
    with storage.lock():
        storage.replace(REFLOG, b"reflog")
        names = (flag, spool / "is_publishing.lock", spool / "reflog.chksum")
        for path in names:
            status = path.stat()
            assert (status.st_uid, status.st_gid) == (1234, 5678)
