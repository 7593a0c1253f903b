"""Writing to registries: to the one that most of the world runs, and to bad ones."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.images.oci import build_image, digest_of, tar_of
from tests.support.registries.distribution import distribution_registry
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    RegistryAccess,
    RegistryClient,
    RegistryProtocolError,
)

IMAGE = build_image([tar_of({"motd": b"hello"})])
BLOBS = IMAGE.blobs
# htpasswd -nbB robot s3cret
ROBOT = "robot:$2y$05$9VqGuyVbvSPhyvPkqrvAeOlhwCp8rT5ZXU2aHWP9tUBZ8gY0yp5dW"


@contextmanager
def client_of(host: str) -> Iterator[RegistryClient]:
    access = {host: RegistryAccess(host, plain_http=True)}
    with RegistryClient(access, internal_hosts=frozenset({host})) as client:
        yield client


def test_what_is_pushed_is_there_under_its_tag_and_digests(tmp_path: Path) -> None:
    with distribution_registry(tmp_path) as host, client_of(host) as client:
        reference = Reference.parse(f"{host}/thin/analysis:v1")
        client.push(reference, BLOBS, IMAGE.manifest, IMAGE.media_type)
        assert client.resolve(reference).digest == IMAGE.digest
        for blob in BLOBS:
            digest = digest_of(blob)
            with client.blob(reference, digest, len(blob)) as stream:
                assert stream.read() == blob


def test_pushing_again_changes_nothing_and_another_image_moves_the_tag(
    tmp_path: Path,
) -> None:
    other = build_image([tar_of({"motd": b"bye"})])
    with distribution_registry(tmp_path) as host, client_of(host) as client:
        reference = Reference.parse(f"{host}/thin/analysis:v1")
        for image in (IMAGE, IMAGE, other):
            client.push(reference, image.blobs, image.manifest, image.media_type)
            assert client.resolve(reference).digest == image.digest


def test_who_may_not_push_is_told_so(tmp_path: Path) -> None:
    with distribution_registry(tmp_path, htpasswd=ROBOT + "\n") as host:
        reference = Reference.parse(f"{host}/thin/analysis:v1")
        with client_of(host) as nobody, pytest.raises(AccessDenied):
            nobody.push(reference, BLOBS, IMAGE.manifest, IMAGE.media_type)


class _Elsewhere(BaseHTTPRequestHandler):
    """A registry that would have blobs put at another host, or moves writes."""

    status, location = 202, "http://192.0.2.1/v2/upload"

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "location", "said"),
    [
        (202, "http://192.0.2.1/v2/upload", "which is not itself"),
        (202, "", "not itself"),
        (202, "http://[bad", "no web address"),
        (302, "/v2/elsewhere", "redirects what is written"),
    ],
)
def test_what_is_written_goes_nowhere_else(
    status: int, location: str, said: str
) -> None:
    handler = type("Handler", (_Elsewhere,), {"status": status, "location": location})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host = f"127.0.0.1:{server.server_port}"
        reference = Reference.parse(f"{host}/thin/analysis:v1")
        try:
            with client_of(host) as client, pytest.raises(RegistryProtocolError) as bad:
                client.push(reference, BLOBS, IMAGE.manifest, IMAGE.media_type)
        finally:
            server.shutdown()
            thread.join()
        assert said in str(bad.value)
