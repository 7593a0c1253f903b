"""Whoever may have deleted objects leaves a mark that changes."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
)
from workers.cvmfs import LocalStorage, PutLink, Repository
from workers.cvmfs.storage.deletion_mark import deletion_mark
from workers.cvmfs.storage.shared_with_stock import StockStorage


@pytest.fixture
def storage(tmp_path: Path, spool: Path) -> StockStorage:
    inner = LocalStorage(tmp_path / "base")
    inner.prepare()
    return StockStorage(inner, spool, FQRN, patience_seconds=0)


def repository(storage: StockStorage | LocalStorage) -> Repository:
    return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)


@pytest.fixture
def published(storage: StockStorage) -> StockStorage:
    Repository.create(FQRN, storage, keys(), now=NOW, is_mountpoint=is_mountpoint)
    return storage


def test_the_end_of_a_stock_transaction_changes_the_deletion_mark(
    published: StockStorage, spool: Path
) -> None:
    before = deletion_mark(published)
    repository(published).commit([PutLink(b"/link", b"target")], now=NOW)
    assert deletion_mark(published) == before
    (spool / "scratch" / "wastebin").mkdir()
    after = deletion_mark(published)
    assert after is not None
    assert after != before
