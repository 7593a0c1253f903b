"""What is special about a bucket; what all storages promise is tested for all."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.repositories.s3_server import (
    ACCESS_KEY,
    BUCKET,
    SECRET_KEY,
    Request,
    S3Server,
    s3_server,
)
from workers.cvmfs import BucketAccess, S3Storage
from workers.cvmfs.errors import FormatError, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.bucket import Outdated
from workers.cvmfs.storage.bucket_lease import LOCK

FORK = """
import os, sys
from workers.cvmfs import BucketAccess, FormatError, S3Storage

def in_child(when):
    if os.fork():
        os.wait()
        return
    for use in (lambda: storage.put("data/ab/c", b"x"), storage.sync):
        try:
            use()
        except FormatError as error:
            print(f"{when}: refused", flush=True)
    if storage_is_unused:
        print(f"{when}: ok", flush=True)
    os._exit(0)

storage = S3Storage(BucketAccess(*sys.argv[1:]))
storage_is_unused = True
in_child("unused")
storage_is_unused = False
storage.exists("data/ab/c")
in_child("used")
"""
PREFIX = "cvmfs/test.example.org"
OBJECT = "data/ab/cdef"
MANIFEST = ".cvmfspublished"
CONTENT = {"content-type": "application/octet-stream"}
LONG = {**CONTENT, "cache-control": "max-age=259200"}


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def storage_on(server: S3Server, patience_seconds: float = 0) -> S3Storage:
    return S3Storage(
        server.access(PREFIX), patience_seconds=patience_seconds, retry_seconds=0
    )


@pytest.fixture
def storage(server: S3Server) -> S3Storage:
    return storage_on(server)


def key(path: str) -> str:
    return f"{PREFIX}/{path}"


def test_keys_and_headers_are_those_of_the_stock_tools(
    storage: S3Storage, server: S3Server
) -> None:
    storage.put(OBJECT, b"small")
    storage.put(OBJECT + "C", bytes(100_000))
    with storage.stage() as staged:
        staged.write(b"staged")
        staged.publish(OBJECT + "P")
    with storage.stage() as staged:
        staged.write(bytes(20_000_000))
        staged.publish("data/ab/large")
    storage.sync()
    for path in (OBJECT, OBJECT + "C", OBJECT + "P", "data/ab/large"):
        assert server.objects[key(path)].headers == LONG
    assert len(server.objects[key("data/ab/large")].data) == 20_000_000
    for path in (MANIFEST, ".cvmfswhitelist", ".cvmfsreflog"):
        storage.replace(path, b"text")
        assert server.objects[key(path)].headers == {
            "content-type": "application/x-cvmfs",
            "cache-control": "max-age=61",
        }


def test_a_prefix_may_be_empty(server: S3Server) -> None:
    S3Storage(server.access()).replace(MANIFEST, b"text")
    assert list(server.objects) == [MANIFEST]


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


def test_the_bytes_under_way_are_bounded(storage: S3Storage, server: S3Server) -> None:
    for number in range(30):
        storage.put(f"data/ab/{number}", bytes(6_000_000))
    storage.sync()
    assert server.most_in_flight <= 5


def test_nothing_is_listed(storage: S3Storage, server: S3Server) -> None:
    with storage.lock():
        storage.put(OBJECT, b"x")
        storage.sync()
        storage.exists(OBJECT)
        storage.replace(MANIFEST, b"x")
    assert all(request.key for request in server.requests)


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


@pytest.mark.parametrize("header", ["if-match", "if-none-match"])
def test_a_service_that_ignores_conditions_is_refused_in_one_line(
    storage: S3Storage, server: S3Server, header: str
) -> None:
    server.ignored = {header}
    for attempt in (storage.prepare, lambda: storage.lock().__enter__()):
        with pytest.raises(StorageFailed, match=f"(?i)ignores {header}:") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert BUCKET in str(caught.value)
    assert server.objects == {}


def test_a_good_service_is_probed_once_and_left_clean(
    storage: S3Storage, server: S3Server
) -> None:
    storage.prepare()
    count = len(server.requests)
    storage.prepare()
    assert len(server.requests) == count
    assert server.objects == {}


def test_no_error_shows_a_credential(server: S3Server) -> None:
    accesses = [
        BucketAccess("other", "p", server.url, access_key="a", secret_key="b"),
        BucketAccess(BUCKET, "p", server.url, "r", "AKIAWRONG", SECRET_KEY),
        BucketAccess(BUCKET, "p", "http://127.0.0.1:1", "r", ACCESS_KEY, SECRET_KEY),
        BucketAccess(BUCKET, "p", "no url", "r", ACCESS_KEY, SECRET_KEY),
    ]
    for access in accesses:
        with pytest.raises(FormatError) as caught:
            S3Storage(access, retry_seconds=0).prepare()
        assert isinstance(caught.value, StorageFailed)
        shown = f"{caught.value} {access!r}"
        assert "\n" not in shown
        for secret in (ACCESS_KEY, SECRET_KEY, "AKIAWRONG", "Signature"):
            assert secret not in shown
        assert caught.value.__cause__ is None


def test_a_child_of_a_process_that_used_a_bucket_is_told_so(
    storage: S3Storage, server: S3Server
) -> None:
    values = (BUCKET, PREFIX, server.url, "us-east-1", ACCESS_KEY, SECRET_KEY)
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, *values],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert said == "unused: ok\nused: refused\nused: refused\n"


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
