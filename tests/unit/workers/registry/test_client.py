import json
import socket
import socketserver
import threading
from collections.abc import Mapping

import pytest

from tests.support.images.oci import build_image, digest_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from tests.support.registries.one_image import IMAGE, NAME, open_client
from workers.media_types import OCI_INDEX, OCI_MANIFEST
from workers.reference import Reference
from workers.registry import (
    DigestMismatch,
    ManifestDescriptor,
    RefusedAddress,
    RegistryAccess,
    RegistryClient,
    RegistryUnavailable,
    Timeouts,
    UnsupportedManifest,
)

DESCRIPTOR = ManifestDescriptor(OCI_MANIFEST, IMAGE.digest, len(IMAGE.manifest))


# resolve


def test_a_tag_is_resolved_by_a_head_alone(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    assert client.resolve(reference) == DESCRIPTOR
    (asked,) = registry.seen()
    assert asked.method == "HEAD"
    assert OCI_INDEX in asked.headers["Accept"]


def test_a_digest_counts_before_a_tag(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    newer = registry.push_image(NAME, "v1", [])
    pinned = Reference.parse(f"{reference}@{IMAGE.digest}")
    assert client.resolve(pinned) == DESCRIPTOR
    assert client.resolve(reference).digest == newer.digest


@pytest.mark.parametrize(
    "headers",
    [
        {"Docker-Content-Digest": None},
        {"Docker-Content-Digest": "sha256:short"},
        {"Content-Type": None},
        {"Content-Type": "application/json"},
        {"Content-Length": "unknown"},
    ],
)
def test_a_head_that_does_not_say_enough_is_followed_by_a_get(
    client: RegistryClient,
    registry: FakeRegistry,
    reference: Reference,
    headers: Mapping[str, str | None],
) -> None:
    registry.change_headers("HEAD", "/manifests/", headers)
    assert client.resolve(reference) == DESCRIPTOR
    assert [asked.method for asked in registry.seen()] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_refused_head_is_followed_by_a_get(
    client: RegistryClient, registry: FakeRegistry, reference: Reference, status: int
) -> None:
    registry.fail("HEAD", "/manifests/", status=status)
    assert client.resolve(reference) == DESCRIPTOR


def test_a_registry_that_claims_another_digest_than_asked_for_is_not_believed(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    lie = {"Docker-Content-Digest": digest_of(b"lie")}
    registry.change_headers("HEAD", "/manifests/", lie)
    pinned = Reference.parse(f"{reference}@{IMAGE.digest}")
    assert client.resolve(pinned) == DESCRIPTOR


def test_schema_1_is_refused_when_resolving(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.push_manifest(NAME, "v1", b'{"schemaVersion": 1}', schema_1)
    with pytest.raises(UnsupportedManifest, match=rf"^{reference}: .*schema 1"):
        client.resolve(reference)


def test_a_reference_without_tag_and_digest_is_told_so(client: RegistryClient) -> None:
    with pytest.raises(Exception, match="neither tag nor digest"):
        client.resolve(Reference("127.0.0.1:1", NAME))


# manifest


def test_a_manifest_comes_as_its_raw_bytes(
    client: RegistryClient, reference: Reference
) -> None:
    fetched = client.manifest(reference, size=len(IMAGE.manifest))
    assert fetched.raw == IMAGE.manifest
    assert fetched.digest == IMAGE.digest
    assert fetched.media_type == OCI_MANIFEST
    assert "schemaVersion" not in repr(fetched)


def test_children_of_an_index_are_fetched_by_digest(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    arm = build_image([], platform="linux/arm64/v8")
    index = registry.push_index(NAME, "v1", [IMAGE, arm])
    fetched = client.manifest(reference)
    assert (fetched.media_type, fetched.raw) == (OCI_INDEX, index.manifest)
    children = json.loads(fetched.raw)["manifests"]
    child = client.manifest(reference, children[1]["digest"], size=children[1]["size"])
    assert child.raw == arm.manifest
    assert children[1]["platform"]["variant"] == "v8"


def test_a_manifest_of_another_size_than_its_descriptor_says_is_refused(
    client: RegistryClient, reference: Reference
) -> None:
    with pytest.raises(DigestMismatch, match="promises 3"):
        client.manifest(reference, IMAGE.digest, size=3)


@pytest.mark.parametrize("by_digest", [True, False])
def test_an_altered_manifest_is_refused(
    client: RegistryClient,
    registry: FakeRegistry,
    reference: Reference,
    by_digest: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    registry.corrupt("/manifests/")
    with pytest.raises(DigestMismatch):
        client.manifest(reference, IMAGE.digest if by_digest else None)


def test_a_manifest_by_tag_may_come_without_a_claim(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.change_headers("GET", "/manifests/", {"Docker-Content-Digest": None})
    assert client.manifest(reference).digest == IMAGE.digest


def test_four_mebibytes_are_the_limit_of_a_manifest(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    limit = 4 * 1024 * 1024
    padded = IMAGE.manifest + b" " * (limit - len(IMAGE.manifest))
    registry.push_manifest(NAME, "v1", padded, OCI_MANIFEST)
    assert len(client.manifest(reference).raw) == limit
    registry.push_manifest(NAME, "v1", padded + b" ", OCI_MANIFEST)
    with pytest.raises(UnsupportedManifest, match="more than 4194304 bytes"):
        client.manifest(reference)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", ["cut", "reset", "hang", "drip"])
def test_a_manifest_that_does_not_arrive_is_for_later(
    registry: FakeRegistry, reference: Reference, spoil: str
) -> None:
    match spoil:
        case "cut":
            registry.cut("/manifests/", after=10)
        case "reset":
            registry.reset("GET", "/manifests/")
        case "hang":
            registry.hang("GET", "/manifests/")
        case "drip":
            registry.drip("/manifests/", block=1, pause=0.05)
    timeouts = Timeouts(connect_seconds=5, stall_seconds=0.3, answer_seconds=0.5)
    with (
        open_client(registry, timeouts=timeouts) as impatient,
        pytest.raises(RegistryUnavailable, match=registry.host),
    ):
        impatient.manifest(reference)
    registry.mend()
    with open_client(registry) as client:
        assert client.manifest(reference).digest == IMAGE.digest


def test_a_connection_that_breaks_once_is_not_worth_an_error(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.reset("GET", "/manifests/", times=1)
    assert client.manifest(reference).digest == IMAGE.digest


def test_nobody_listening_is_for_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
    access = {host: RegistryAccess(host, plain_http=True)}
    with (
        RegistryClient(access, internal_hosts=frozenset({host})) as client,
        pytest.raises(RegistryUnavailable, match=f"{host} refuses connections"),
    ):
        client.resolve(Reference.parse(f"{host}/a"))


def test_a_name_that_is_not_resolved_is_for_later() -> None:
    with (
        RegistryClient({}, internal_hosts=frozenset()) as client,
        pytest.raises(RegistryUnavailable, match="cannot be resolved"),
    ):
        client.resolve(Reference.parse(f"{'a' * 64}.example/a"))


def test_an_error_whose_body_does_not_arrive_is_told_without_it(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    reply = Reply(500, {}, b'{"errors": []}', cut=3)
    registry.spoil("GET", "/manifests/", lambda *_: reply)
    with pytest.raises(RegistryUnavailable, match=r"answered 500$"):
        client.manifest(reference)


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500]
)
def test_what_speaks_no_http_is_for_later(answer: bytes) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _babbler(answer)) as server:
        host = f"127.0.0.1:{server.server_address[1]}"
        access = {host: RegistryAccess(host, plain_http=True)}
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        with (
            RegistryClient(access, internal_hosts=frozenset({host})) as client,
            pytest.raises(RegistryUnavailable, match=f"{host} broke the connection"),
        ):
            client.resolve(Reference.parse(f"{host}/a"))
        server.shutdown()
        thread.join()


def _babbler(answer: bytes) -> type[socketserver.StreamRequestHandler]:
    class Babbler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    return Babbler


# is_public


def test_an_image_is_public_when_nobody_in_particular_can_pull_it(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.tokens_for_all = True
    with open_client(registry, with_password=True) as client:
        assert client.is_public(reference)
        registry.make_private(NAME)
        client.resolve(reference)
        assert not client.is_public(reference)
        registry.make_public(NAME)
        assert client.is_public(reference)
    anonymous = [
        asked
        for asked in registry.seen("GET", "^/token")
        if "Authorization" not in asked.headers
    ]
    # A fresh token each time: the one before might outlive a change of mind.
    assert len(anonymous) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_anonymous_token_means_private(
    registry: FakeRegistry, reference: Reference, status: int
) -> None:
    registry.make_private(NAME)
    registry.fail("GET", "^/token", status=status)
    with open_client(registry, with_password=True) as client:
        assert not client.is_public(reference)


def test_a_password_alone_means_private(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.challenge = 'Basic realm="registry"'
    registry.make_private(NAME)
    with open_client(registry, with_password=True) as client:
        assert not client.is_public(reference)


def test_whether_an_image_is_public_is_not_guessed(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.fail("HEAD", "/manifests/", status=503)
    with pytest.raises(RegistryUnavailable):
        client.is_public(reference)


# which registry


@pytest.mark.parametrize("text", ["127.0.0.1:6379/a", "localhost/a", "[::1]/a"])
def test_an_image_at_a_private_address_is_refused_unless_configured(text: str) -> None:
    with (
        RegistryClient({}, internal_hosts=frozenset()) as client,
        pytest.raises(RefusedAddress),
    ):
        client.resolve(Reference.parse(text))
