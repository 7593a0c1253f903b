"""A stratum 1 replicates a repository of ours, and follows it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories.folder_over_http import serve_folder
from tests.support.repositories.repository_builders import is_mountpoint, small_tree
from tests.support.repositories.stock_repository import FQRN
from tests.support.tools.cvmfs_client import mounted
from tests.support.tools.cvmfs_server import StockServer, stock_server
from workers.cvmfs import (
    GraftTree,
    KeyRing,
    LocalStorage,
    RemovePath,
    Repository,
    Retention,
    add_tag,
    collect_garbage,
)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[StockServer]:
    with stock_server(tmp_path / "stratum1") as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    now = int(time.time())
    return Repository.create(
        FQRN,
        LocalStorage(tmp_path / "stratum0" / "cvmfs" / FQRN),
        KeyRing.load_or_create(FQRN, tmp_path / "keys", now=now),
        now=now,
        is_mountpoint=is_mountpoint,
    )


def publish(repository: Repository, number: int) -> None:
    """Publish one image and take away the one before the last."""
    path = b"/.flat/ab/image-%d" % number
    prepared = repository.prepare(path, small_tree(repository.sink, path))
    gone = RemovePath(b"/.flat/ab/image-%d" % (number - 2))
    repository.commit([GraftTree(path, prepared), gone], now=int(time.time()))


def require_complete(replica: StockServer, repository: Repository) -> None:
    """Let the real check find every object of the replica, and the same head."""
    spool = replica.spool(FQRN)
    said = replica.do(
        *("cvmfs_swissknife", "check", "-c", "-N", FQRN, "-t", "/tmp"),
        *("-r", replica.repository_url(FQRN), "-k", f"/etc/cvmfs/keys/{FQRN}.pub"),
        *("-R", f"/var/spool/cvmfs/{FQRN}/reflog.chksum"),
    )
    assert (spool / "reflog.chksum").exists()
    assert "no problems found" in said, said
    ours = Repository(FQRN, LocalStorage(replica.storage(FQRN)), repository.keys)
    assert ours.head() == repository.head()


def test_a_stratum_1_follows_through_many_revisions_and_a_collection(
    replica: StockServer, repository: Repository, tmp_path: Path
) -> None:
    public_key = tmp_path / "keys" / f"{FQRN}.pub"
    (replica.keys / public_key.name).write_bytes(public_key.read_bytes())
    (replica.folder / "etc" / "server.local").write_text("CVMFS_GEO_DB_FILE=NONE\n")
    publish(repository, 0)
    now = int(time.time())
    add_tag(FQRN, repository.storage, repository.keys, "named", now=now)
    with serve_folder(tmp_path / "stratum0") as url:
        stratum0 = f"{url}/cvmfs/{FQRN}"
        replica.server(
            *("add-replica", "-a", "-p", "-o", "root"),
            *("-w", replica.repository_url(FQRN)),
            *(stratum0, f"/etc/cvmfs/keys/{FQRN}.pub"),
        )
        replica.server("snapshot", FQRN)
        require_complete(replica, repository)
        for number in range(1, 21):
            publish(repository, number)
        replica.server("snapshot", FQRN)
        require_complete(replica, repository)

        done = collect_garbage(
            FQRN,
            LocalStorage(tmp_path / "stratum0" / "cvmfs" / FQRN),
            repository.keys,
            now=int(time.time()) + 1,
            retention=Retention(newest=1, seconds=-1, grace_seconds=0),
        )
        assert done.deleted.objects > 0
        publish(repository, 21)
        replica.server("snapshot", FQRN)
        require_complete(replica, repository)
        replica.server("gc", "-f", "-r", "0", FQRN)
        require_complete(replica, repository)
    client = tmp_path / "client"
    url = replica.repository_url(FQRN)
    with mounted(client, FQRN, url, public_key) as mountpoint:
        shown = mountpoint / ".flat" / "ab" / "image-21" / "hello"
        assert shown.read_bytes() == b"/.flat/ab/image-21"
        assert not (mountpoint / ".flat" / "ab" / "image-1").exists()
