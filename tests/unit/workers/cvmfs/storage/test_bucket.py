"""What a bucket is asked for, and by whom it may be asked."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.repositories.s3_server import (
    ACCESS_KEY,
    BUCKET,
    PREFIX,
    SECRET_KEY,
    S3Server,
    key,
    s3_server,
    storage_on,
)
from workers.cvmfs import BucketAccess, S3Storage
from workers.cvmfs.errors import FormatError, StorageFailed

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
OBJECT = "data/ab/cdef"
MANIFEST = ".cvmfspublished"
CONTENT = {"content-type": "application/octet-stream"}
LONG = {**CONTENT, "cache-control": "max-age=259200"}


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def storage(server: S3Server) -> S3Storage:
    return storage_on(server)


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


@pytest.mark.slow
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
