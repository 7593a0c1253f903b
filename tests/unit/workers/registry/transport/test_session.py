"""Redirects are followed with care, without our credentials."""

from collections.abc import Mapping

import pytest

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import MisbehavingServer, Reply
from tests.support.registries.one_image import IMAGE, NAME, open_client
from workers.media_types import OCI_MANIFEST
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    ManifestDescriptor,
    RefusedAddress,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
    Timeouts,
)

DESCRIPTOR = ManifestDescriptor(OCI_MANIFEST, IMAGE.digest, len(IMAGE.manifest))


class _Storage(MisbehavingServer):
    """Holds one manifest and one blob under any path, as a bucket does."""

    def right_reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        return Reply(200, {"Content-Type": OCI_MANIFEST}, IMAGE.manifest)


def _read_manifest_as_blob(client: RegistryClient, reference: Reference) -> bytes:
    with client.blob(reference, IMAGE.digest, len(IMAGE.manifest)) as stream:
        return stream.read()


def test_a_blob_is_fetched_where_the_registry_says_without_our_credentials(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.make_private(NAME)
    with _Storage() as storage:
        signed = f"{storage.url}/bucket/blob?X-Amz-Signature=secret%2Fvalue"
        registry.redirect("/blobs/", signed)
        internal = (storage.host,)
        with open_client(registry, internal=internal, with_password=True) as client:
            assert client.resolve(reference) == DESCRIPTOR
            assert _read_manifest_as_blob(client, reference) == IMAGE.manifest
        (asked,) = storage.seen()
    assert asked.path == "/bucket/blob?X-Amz-Signature=secret%2Fvalue"
    assert "Authorization" not in asked.headers
    (sent,) = registry.seen("GET", "/blobs/")
    assert sent.headers["Authorization"].startswith("Bearer ")


def test_credentials_once_dropped_do_not_come_back(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.make_private(NAME)
    registry.push_blob(NAME, IMAGE.manifest)
    with _Storage() as storage:
        registry.redirect(r"/blobs/[^?]*$", storage.url)
        back = f"{registry.url}/v2/{NAME}/blobs/{IMAGE.digest}?back"
        storage.redirect("", back)
        internal = (storage.host,)
        with open_client(registry, internal=internal, with_password=True) as client:
            client.resolve(reference)
            with pytest.raises(AccessDenied):
                _read_manifest_as_blob(client, reference)
    returned = registry.seen("GET", "back")
    assert returned
    assert not any("Authorization" in asked.headers for asked in returned)


def test_a_redirect_within_the_registry_keeps_credentials(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.make_private(NAME)
    registry.push_blob(NAME, IMAGE.manifest)
    here = f"/v2/{NAME}/blobs/{IMAGE.digest}?again=1"
    registry.redirect(r"/blobs/[^?]*$", here)
    with open_client(registry, with_password=True) as client:
        assert _read_manifest_as_blob(client, reference) == IMAGE.manifest


def test_five_redirects_are_followed_and_not_six(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.push_blob(NAME, IMAGE.manifest)
    registry.redirect("/blobs/", registry.url, times=5)
    assert _read_manifest_as_blob(client, reference) == IMAGE.manifest
    registry.redirect("/blobs/", registry.url)
    with pytest.raises(RegistryProtocolError, match="redirects more than 5 times"):
        _read_manifest_as_blob(client, reference)


def test_a_redirect_into_the_private_network_is_refused(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    with _Storage() as storage:
        registry.redirect("/blobs/", storage.url)
        with pytest.raises(RefusedAddress, match=r"127\.0\.0\.1"):
            _read_manifest_as_blob(client, reference)
        assert storage.seen() == []


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("file:///etc/passwd", RegistryProtocolError),
        ("https://user:password@example.org/", RegistryProtocolError),
        ("http://[/", RegistryProtocolError),
        ("http://a b/", RegistryProtocolError),
        # requests connects to 127.0.0.1 here, urllib.parse sees another host.
        ("http://127.0.0.1\\.example/", RegistryProtocolError),
        ("http://ex%61mple/", RegistryProtocolError),
        ("http://\u00e4.example/", RegistryProtocolError),
        ("http://*.example\\@x/", RegistryProtocolError),
        ("http://" + "a" * 70 + ".example/", RegistryUnavailable),
        ("http://169.254.169.254/latest/meta-data/", RefusedAddress),
        ("http://0x7f.1:6379/", RefusedAddress),
    ],
)
def test_a_redirect_to_no_web_address_is_refused(
    client: RegistryClient,
    registry: FakeRegistry,
    reference: Reference,
    location: str,
    kind: type[Exception],
) -> None:
    reply = Reply(307, {"Location": location})
    registry.spoil("GET", "/manifests/", lambda *_: reply)
    with pytest.raises(kind) as refusal:
        client.manifest(reference)
    assert "password" not in str(refusal.value)


def test_a_redirect_without_a_place_is_refused(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.fail("GET", "/manifests/", status=302)
    with pytest.raises(RegistryProtocolError, match="without a usable Location"):
        client.manifest(reference)


def test_a_signature_that_expired_is_renewed_by_asking_the_registry_again(
    registry: FakeRegistry, reference: Reference
) -> None:
    with _Storage() as storage:
        storage.cut("signature=1", after=100)
        storage.fail("GET", "signature=2", status=403)
        numbers = iter(range(1, 10))

        def signed(_path: str, _reply: Reply) -> Reply:
            url = f"{storage.url}/blob?signature={next(numbers)}"
            return Reply(307, {"Location": url})

        registry.spoil("GET", "/blobs/", signed)
        with open_client(registry, internal=(storage.host,)) as client:
            assert _read_manifest_as_blob(client, reference) == IMAGE.manifest
        asked = [request.path for request in storage.seen()]
    assert asked == [f"/blob?signature={n}" for n in (1, 2, 3)]


def test_no_message_and_no_cause_holds_a_signature(
    registry: FakeRegistry, reference: Reference
) -> None:
    with _Storage() as storage:
        storage.hang("GET", "")
        registry.redirect("/manifests/", f"{storage.url}/x?signature=secret")
        timeouts = Timeouts(connect_seconds=5, stall_seconds=0.2, answer_seconds=5)
        with (
            open_client(
                registry, internal=(storage.host,), timeouts=timeouts
            ) as client,
            pytest.raises(RegistryUnavailable) as refusal,
        ):
            client.manifest(reference)
    error: BaseException | None = refusal.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__
