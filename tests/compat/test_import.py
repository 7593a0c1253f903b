"""The stock tools continue a repository that our ``repository init`` made."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import is_mountpoint, small_tree
from tests.support.repositories.stock_repository import FQRN, StockRepository
from tests.support.tools.cvmfs_server import StockServer, stock_server
from workers.cvmfs import GraftTree, KeyRing, LocalStorage, PutFile, Repository


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StockServer]:
    with stock_server(tmp_path / "machine") as server:
        yield server


def publish_before_import(server: StockServer, *, revisions: int) -> None:
    """Make a repository, as on a machine without any stock tools."""
    now = int(time.time())
    keys = KeyRing.load_or_create(FQRN, server.folder / "srv" / "keys", now=now)
    base = LocalStorage(server.storage(FQRN))
    base_repository = Repository.create(
        FQRN, base, keys, now=now, is_mountpoint=is_mountpoint
    )
    for number in range(revisions):
        path = b"/.flat/ab/before-%d" % number
        tree = small_tree(base_repository.sink, path)
        prepared = base_repository.prepare(path, tree)
        text = base_repository.sink.put_bytes(b"text")
        note = PutFile(b"/note-%d" % number, text)
        base_repository.commit([GraftTree(path, prepared), note], now=now)


def set_garbage_collectable(server: StockServer) -> None:
    """As the operator has to: ``import`` says no whatever the manifest says."""
    config = server.folder / "etc" / "repositories.d" / FQRN / "server.conf"
    text = config.read_text()
    no = "CVMFS_GARBAGE_COLLECTION=false"
    assert no in text
    config.write_text(text.replace(no, "CVMFS_GARBAGE_COLLECTION=true"))


@pytest.mark.parametrize("owner", ["root", "librarian"])
def test_an_imported_repository_goes_on_both_ways(
    server: StockServer, owner: str
) -> None:
    publish_before_import(server, revisions=5)
    if owner != "root":
        server.do("useradd", "--shell", "/bin/sh", owner)
    options = ["-p", "-g", "-o", owner, "-k", "/srv/keys"]
    url = server.repository_url(FQRN)
    server.server("import", *options, "-w", url, FQRN)
    set_garbage_collectable(server)
    server.check(FQRN)

    adopted = StockRepository(server)
    server.publish(FQRN, "test -e .flat/ab/before-4/hello; echo stock > stock")
    adopted.publish(b"after")
    server.check(FQRN)
    server.server("tag", "-a", "named", FQRN)
    server.server("gc", "-f", "-r", "0", FQRN)
    adopted.publish(b"later")
    server.publish(FQRN, "rm note-0; test -e .flat/ab/later/hello")
    server.check(FQRN)
    assert adopted.has("/stock")
    assert not adopted.has("/note-0")
    assert {"named", "trunk"} <= {tag.name for tag in adopted.repository().tags()}
    assert adopted.repository().head().is_garbage_collectable
