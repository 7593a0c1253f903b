"""Objects go up side by side, within bounds, and none is forgotten."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.repositories.s3_server import (
    Request,
    S3Server,
    key,
    s3_server,
    storage_on,
)
from workers.cvmfs import S3Storage
from workers.cvmfs.errors import StorageFailed


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def storage(server: S3Server) -> S3Storage:
    return storage_on(server)


def test_many_objects_are_under_way_at_once(
    storage: S3Storage, server: S3Server
) -> None:
    enough = threading.Event()

    def hold(_: Request) -> None:
        if server.in_flight >= 32:
            enough.set()
        enough.wait(60)

    server.refuse = hold
    for number in range(200):
        storage.put(f"data/ab/{number}", b"x")
    storage.sync()
    assert enough.is_set()
    assert server.most_in_flight <= 64
    assert len(server.objects) == 200


@pytest.mark.slow
def test_the_bytes_under_way_are_bounded(storage: S3Storage, server: S3Server) -> None:
    for number in range(30):
        storage.put(f"data/ab/{number}", bytes(6_000_000))
    storage.sync()
    assert server.most_in_flight <= 5


def test_what_could_not_be_written_is_tried_again_and_never_forgotten(
    storage: S3Storage, server: S3Server
) -> None:
    server.refuse = lambda _: 500
    storage.put("data/ab/1", b"1")
    for _ in range(2):
        with pytest.raises(StorageFailed, match="data/ab/1"):
            storage.sync()
    with pytest.raises(StorageFailed):
        storage.put("data/ab/2", b"2")
    with pytest.raises(StorageFailed):
        storage.get("data/ab/1")
    with pytest.raises(StorageFailed):
        storage.exists("data/ab/1")
    server.refuse = lambda _: None
    storage.put("data/ab/3", b"3")
    storage.sync()
    assert server.objects.keys() == {key("data/ab/1"), key("data/ab/3")}
