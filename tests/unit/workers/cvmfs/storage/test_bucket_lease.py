"""The lock of a bucket has its time, by the bucket's own clock."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.repositories.s3_server import (
    PREFIX,
    S3Server,
    s3_server,
    storage_on,
)
from workers.cvmfs import S3Storage
from workers.cvmfs.storage.bucket import Outdated
from workers.cvmfs.storage.bucket_lease import LOCK


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def storage(server: S3Server) -> S3Storage:
    return storage_on(server)


def test_a_lock_whose_time_is_over_is_taken_at_once(
    storage: S3Storage, server: S3Server
) -> None:
    with storage.lock():
        pass
    other = storage_on(server)
    for text in (
        b"not of ours",
        b"[]",
        json.dumps({"owner": "dead", "until": time.time() - 1}).encode(),
    ):
        other._bucket.write(LOCK, text, other._bucket.version(LOCK))
        with storage.lock():
            pass


def test_a_holder_whose_clock_is_ahead_is_not_waited_for_longer(
    storage: S3Storage, server: S3Server
) -> None:
    ahead = json.dumps({"owner": "dead", "until": time.time() + 1e6}).encode()
    storage._bucket.write(LOCK, ahead, None)
    quick = S3Storage(server.access(PREFIX), patience_seconds=60, lease_seconds=0.1)
    with quick.lock():
        pass


def test_losing_the_lock_ends_quietly(server: S3Server) -> None:
    storage = S3Storage(server.access(PREFIX), lease_seconds=0.1)
    thief = storage_on(server)
    free = json.dumps({"owner": None}).encode()
    with storage.lock():
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline
            try:
                thief._bucket.write(LOCK, free, thief._bucket.version(LOCK))
            except Outdated:  # renewed at this very moment
                continue
            break
        with thief.lock():
            pass
    with storage.lock():
        pass
