"""A stock repository in a bucket: its spool on the machine, its objects elsewhere."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import is_mountpoint, small_tree
from tests.support.repositories.s3_server import (
    ACCESS_KEY,
    BUCKET,
    SECRET_KEY,
    S3Server,
    s3_server,
)
from tests.support.repositories.stock_repository import FQRN
from tests.support.tools.cvmfs_server import StockServer, stock_server
from workers.cvmfs import GraftTree, Repository, RepositoryBusy, S3Storage
from workers.cvmfs.storage.shared_with_stock import StockStorage


@pytest.fixture
def bucket() -> Iterator[S3Server]:
    with s3_server() as bucket:
        bucket.is_public = True
        yield bucket


@pytest.fixture
def machine(bucket: S3Server, tmp_path: Path) -> Iterator[StockServer]:
    with stock_server(tmp_path / "machine") as machine:
        host, _, port = bucket.url.removeprefix("http://").partition(":")
        settings = {
            "HOST": host,
            "PORT": port,
            "ACCESS_KEY": ACCESS_KEY,
            "SECRET_KEY": SECRET_KEY,
            "BUCKET": BUCKET,
            "DNS_BUCKETS": "false",
            "REGION": "us-east-1",
            "MAX_NUMBER_OF_PARALLEL_CONNECTIONS": "4",
        }
        lines = (f"CVMFS_S3_{name}={value}\n" for name, value in settings.items())
        (machine.folder / "etc" / "s3.conf").write_text("".join(lines))
        machine.server(
            *("mkfs", "-p", "-o", "root", "-z", "-s", "/etc/cvmfs/s3.conf"),
            *("-w", f"{bucket.url}/{BUCKET}", FQRN),
        )
        yield machine


def test_both_publish_in_turns(machine: StockServer, bucket: S3Server) -> None:
    inner = S3Storage(bucket.access(FQRN))
    storage = StockStorage(inner, machine.spool(FQRN), FQRN, patience_seconds=0)
    repository = Repository.open(
        FQRN, storage, machine.keys, is_mountpoint=is_mountpoint
    )

    def publish(name: bytes) -> None:
        path = b"/.flat/ab/" + name
        prepared = repository.prepare(path, small_tree(repository.sink, name))
        repository.commit([GraftTree(path, prepared)], now=int(time.time()))

    publish(b"one")
    machine.server("check", FQRN)
    machine.publish(FQRN, "test -e .flat/ab/one/hello; echo stock > stock")
    publish(b"two")
    machine.server("check", FQRN)
    machine.server("transaction", FQRN)
    with pytest.raises(RepositoryBusy, match="in_transaction"):
        publish(b"three")
    machine.server("abort", "-f", FQRN)
    publish(b"three")
    machine.server("check", FQRN)
    snapshot = repository.read()
    for path in (b"/.flat/ab/one", b"/.flat/ab/two", b"/.flat/ab/three", b"/stock"):
        assert snapshot.lookup(path) is not None
