"""Whether a repository has locks of the stock tools, and where."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import FQRN, keys
from workers import wiring
from workers.care.repository import create_repository
from workers.config import Config, RepositoryConfig, load_config
from workers.cvmfs import LocalStorage, PutLink, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.wiring import open_repository


def config(tmp_path: Path, spool: Path | None = None) -> Config:
    storage = (tmp_path / "storage").as_uri()
    repository = RepositoryConfig(FQRN, storage, keys=tmp_path / "keys", spool=spool)
    return Config(repositories={FQRN: repository})


@pytest.fixture(autouse=True)
def saved_keys(tmp_path: Path) -> None:
    keys().save(tmp_path / "keys")


def test_the_configuration_may_name_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    text = f"repositories: {{{FQRN}: {{storage: file:///srv/x, spool: spool/x}}}}"
    path.write_text(text)
    assert load_config(path, {}).repositories[FQRN].spool == tmp_path / "spool" / "x"


def test_without_a_spool_there_is_nothing_to_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_SPOOLS", tmp_path / "spools")
    made = create_repository(config(tmp_path), FQRN)
    assert isinstance(made.storage, LocalStorage)


def test_the_stock_tools_own_place_is_looked_at_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spools" / FQRN
    spool.mkdir(parents=True)
    monkeypatch.setattr(wiring, "_SPOOLS", spool.parent)
    create_repository(config(tmp_path), FQRN)
    opened = open_repository(config(tmp_path), FQRN)
    assert isinstance(opened.storage, StockStorage)
    (spool / "in_transaction.lock").touch()
    with (
        pytest.raises(RepositoryBusy, match="in_transaction"),
        opened.storage.lock(patience_seconds=0),
    ):
        opened.commit([PutLink(b"/link", b"target")], now=1_800_000_000)


def test_a_spool_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(StorageFailed, match="missing is no folder: mend `spool`"):
        create_repository(config(tmp_path, missing), FQRN)
