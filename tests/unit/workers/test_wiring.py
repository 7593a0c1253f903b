"""Which publisher, reader and storage a configured repository has."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.repositories.repository_builders import FQRN, keys, save_new_keys
from webhook.web.cvmfs_files import local_roots
from workers import wiring
from workers.care.repository import (
    add_tag,
    check_repository,
    collect_garbage,
    create_missing_repositories,
    create_repository,
    remove_tag,
    resign,
    roll_back,
)
from workers.care.whitelists import WhitelistWatch, renew_whitelists
from workers.config import Config, RegistryConfig, RepositoryConfig, load_config
from workers.config.document import CONFIG_SCHEMA
from workers.config.values import Secret
from workers.cvmfs import (
    LocalStorage,
    PutLink,
    RepositoryBusy,
    Retention,
    StorageFailed,
)
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.documents.schema_check import load_schema
from workers.publishing.publisher import PublishedTree, Publisher
from workers.reference import Reference
from workers.registry import AccessDenied
from workers.wiring import (
    NotNative,
    open_published,
    open_publisher,
    open_registry,
    open_repository,
    open_storage,
)


def config(tmp_path: Path, spool: Path | None = None) -> Config:
    storage = (tmp_path / "storage").as_uri()
    repository = RepositoryConfig(FQRN, storage, keys=tmp_path / "keys", spool=spool)
    return Config(repositories={FQRN: repository})


@pytest.fixture(autouse=True)
def saved_keys(tmp_path: Path) -> None:
    save_new_keys(keys(), tmp_path / "keys")


@pytest.fixture
def foreign(tmp_path: Path) -> Config:
    """Return a configuration whose repository a kind that is not ours publishes."""
    repository = config(tmp_path).repositories[FQRN]
    other = dataclasses.replace(repository, publisher="gateway")
    return Config(repositories={FQRN: other})


@pytest.mark.parametrize(
    "work",
    [
        open_repository,
        open_storage,
        create_repository,
        resign,
        partial(add_tag, name="a", description=""),
        partial(remove_tag, name="a"),
        partial(roll_back, target="a"),
        partial(collect_garbage, retention=Retention(), dry_run=True, tell=print),
        partial(check_repository, contents=False, tell=print),
    ],
)
def test_what_another_publisher_has_is_for_its_own_tools(
    foreign: Config, work: Callable[[Config, str], object]
) -> None:
    with pytest.raises(NotNative, match=f"{FQRN} is published by gateway: use its own"):
        work(foreign, FQRN)


def test_nothing_is_created_watched_or_served_for_another_publisher(
    foreign: Config, tmp_path: Path
) -> None:
    create_missing_repositories(foreign)
    assert not (tmp_path / "storage").exists()
    renew_whitelists(foreign)
    watch = WhitelistWatch(foreign)
    watch.look()
    assert not watch.standings()
    assert local_roots(foreign) == {}


def test_another_kind_is_opened_and_read_by_its_own_line_of_the_table(
    foreign: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, tree = cast("Publisher", object()), cast("PublishedTree", object())
    kind = wiring.PublisherKind(lambda *_: publisher, lambda *_: tree)
    monkeypatch.setattr(wiring, "PUBLISHERS", {"gateway": kind})
    assert open_publisher(foreign, FQRN) is publisher
    assert open_published(foreign, FQRN) is tree


def test_the_configuration_knows_the_kinds_of_the_table() -> None:
    schema = load_schema(*CONFIG_SCHEMA)
    entry = schema["properties"]["repositories"]["additionalProperties"]["properties"]
    assert set(entry["publisher"]["enum"]) == wiring.PUBLISHERS.keys()


def test_the_configuration_may_name_a_spool(tmp_path: Path) -> None:
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


def test_a_password_that_is_renewed_in_its_file_is_used_from_then_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "password"
    with FakeRegistry() as registry:
        registry.push_image("atlas/analysis", "v1", [b""])
        registry.make_private("atlas/analysis")
        registry.credentials = ("robot", "first")
        access = RegistryConfig(
            registry.host,
            plain_http=True,
            username="robot",
            password=Secret("first"),
            password_file=path,
        )
        reference = Reference.parse(f"{registry.host}/atlas/analysis:v1")
        with open_registry(Config(registries={registry.host: access})) as client:
            client.resolve(reference)  # while there is no file: as at the start
            registry.credentials = ("robot", "second")
            registry.revoke_tokens()
            with pytest.raises(AccessDenied):
                client.resolve(reference)
            path.write_text("second\n")
            client.resolve(reference)
