"""What is special about a bucket; what all storages promise is tested for all."""

import json
import os
from collections.abc import Iterator

import pytest

from tests.support.repositories.s3_server import (
    PREFIX,
    Request,
    S3Server,
    key,
    s3_server,
    storage_on,
)
from workers.cvmfs import S3Storage
from workers.cvmfs.errors import RepositoryBusy, StorageFailed
from workers.cvmfs.storage.bucket_lease import LOCK

OBJECT = "data/ab/cdef"
MANIFEST = ".cvmfspublished"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def storage(server: S3Server) -> S3Storage:
    return storage_on(server)


def test_a_small_object_takes_one_request_and_is_not_written_twice(
    storage: S3Storage, server: S3Server
) -> None:
    for _ in range(2):
        storage.put(OBJECT, b"first")
        storage.sync()
    storage.put(OBJECT, b"other")
    storage.sync()
    assert server.methods(key(OBJECT)) == ["PUT", "PUT", "PUT"]
    assert all(request.headers["if-none-match"] == "*" for request in server.requests)
    assert server.objects[key(OBJECT)].data == b"first"


def test_a_larger_object_is_asked_for_before_it_is_sent(
    storage: S3Storage, server: S3Server
) -> None:
    for _ in range(2):
        storage.put(OBJECT, bytes(100_000))
        storage.sync()
        with storage.stage() as staged:
            staged.write(bytes(20_000_000))
            staged.publish("data/ab/large")
    assert server.methods(key(OBJECT)) == ["HEAD", "PUT", "HEAD"]
    assert server.methods(key("data/ab/large")).count("POST") == 2
    assert server.methods(key("data/ab/large"))[-1] == "HEAD"


def test_nothing_is_listed(storage: S3Storage, server: S3Server) -> None:
    with storage.lock():
        storage.put(OBJECT, b"x")
        storage.sync()
        storage.exists(OBJECT)
        storage.replace(MANIFEST, b"x")
    assert all(request.key for request in server.requests)


@pytest.mark.slow
def test_a_write_whose_answer_was_lost_counts(server: S3Server) -> None:
    storage = S3Storage(server.access(PREFIX), retry_seconds=60)
    lost: list[str] = []

    def lose_once(request: Request) -> int | None:
        if request.method != "PUT" or request.key in lost:
            return None
        lost.append(request.key)
        return -1

    server.refuse = lose_once
    with storage.lock():
        storage.put(OBJECT, b"x")
        storage.sync()
        storage.replace(MANIFEST, b"first")
    lost.clear()
    with storage.lock():
        storage.replace(MANIFEST, b"second")
    assert server.objects[key(MANIFEST)].data == b"second"
    assert json.loads(server.objects[key(LOCK)].data) == {"owner": None}


def test_a_file_that_changed_since_it_was_read_is_not_replaced(
    storage: S3Storage, server: S3Server
) -> None:
    storage.replace(MANIFEST, b"old")
    with storage.lock():
        assert storage.get(MANIFEST) == b"old"
        storage_on(server).replace(MANIFEST, b"of somebody else")
        # Looking again does not make it ours.
        assert storage.get(MANIFEST) == b"of somebody else"
        with pytest.raises(RepositoryBusy, match=MANIFEST):
            storage.replace(MANIFEST, b"ours")
    assert storage.get(MANIFEST) == b"of somebody else"
    with storage.lock():
        storage.get(MANIFEST)
        storage.replace(MANIFEST, b"ours")
        storage.replace(MANIFEST, b"ours again")
    assert server.objects[key(MANIFEST)].data == b"ours again"


def test_a_file_that_was_not_there_is_not_replaced_when_it_appears(
    storage: S3Storage, server: S3Server
) -> None:
    with storage.lock():
        assert not storage.exists(MANIFEST)
        storage_on(server).replace(MANIFEST, b"of somebody else")
        with pytest.raises(RepositoryBusy):
            storage.replace(MANIFEST, b"ours")


def test_a_file_that_went_away_is_not_replaced(
    storage: S3Storage, server: S3Server
) -> None:
    storage.replace(MANIFEST, b"old")
    with storage.lock():
        storage.get(MANIFEST)
        del server.objects[key(MANIFEST)]
        with pytest.raises(RepositoryBusy):
            storage.replace(MANIFEST, b"ours")


def test_a_reader_that_loses_its_connection_says_so(
    storage: S3Storage, server: S3Server
) -> None:
    data = os.urandom(5_000_000)
    storage.put(OBJECT, data)
    storage.sync()
    server.cut_after = 2_000_000
    with pytest.raises(StorageFailed):
        storage.get(OBJECT)
    with storage.open(OBJECT) as file, pytest.raises(StorageFailed):
        list(iter(lambda: file.read(65_536), b""))
