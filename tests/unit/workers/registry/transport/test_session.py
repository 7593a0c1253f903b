"""Redirects are followed with care, without our credentials."""

import gzip
from collections.abc import Mapping

import pytest

from tests.support.images.oci import digest_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import MisbehavingServer, Reply
from tests.support.registries.one_image import IMAGE, NAME, open_client
from workers.errors import WorkerError
from workers.media_types import OCI_MANIFEST
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    ImageNotFound,
    ManifestDescriptor,
    RefusedAddress,
    RegistryAccess,
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


def test_a_storage_that_takes_no_head_is_asked_with_get(
    registry: FakeRegistry, reference: Reference
) -> None:
    with _Storage() as storage:
        for method in ("HEAD", "GET"):
            registry.redirect("/manifests/", storage.url + "/signed", method=method)
        storage.fail("HEAD", "", status=403)
        with open_client(registry, internal=(storage.host,)) as client:
            assert client.resolve(reference) == DESCRIPTOR


def test_another_registry_is_asked_with_a_token_for_nobody(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.make_private(NAME)
    with FakeRegistry() as other:
        other.hold_image("prod/images", "v1", IMAGE)
        other.tokens_for_all = True
        layer = IMAGE.layers[0].blob
        for method in ("HEAD", "GET"):
            there = f"{other.url}/v2/prod/images/manifests/v1"
            registry.redirect("/manifests/", there, method=method)
            place = f"{other.url}/v2/prod/images/blobs/{digest_of(layer)}"
            registry.redirect("/blobs/", place, method=method)
        with open_client(
            registry, internal=(other.host,), with_password=True
        ) as client:
            assert client.resolve(reference) == DESCRIPTOR
            with client.blob(reference, digest_of(layer), len(layer)) as stream:
                assert stream.read() == layer
        (asked,) = other.seen("GET", "^/token")
        assert "scope=repository%3Aprod%2Fimages%3Apull" in asked.path
        assert "Authorization" not in asked.headers
        assert all(
            not one.headers.get("Authorization", "").startswith("Basic")
            for one in other.seen()
        )


def test_what_another_registry_does_not_have_is_not_there(
    registry: FakeRegistry, reference: Reference
) -> None:
    with FakeRegistry() as other:
        registry.redirect("/manifests/", other.url, method="HEAD")
        with (
            open_client(registry, internal=(other.host,)) as client,
            pytest.raises(ImageNotFound),
        ):
            client.resolve(reference)
        other.hold_image(NAME, "v1", IMAGE)
        other.make_private(NAME)
        with (
            open_client(registry, internal=(other.host,)) as client,
            pytest.raises(AccessDenied),
        ):
            client.resolve(reference)


def test_a_token_that_is_too_young_is_shown_once_more(
    registry: FakeRegistry, reference: Reference
) -> None:
    waited: list[float] = []
    registry.tokens_for_all = True
    challenge = f'Bearer realm="{registry.url}/token",error="invalid_token"'
    young = {"WWW-Authenticate": challenge}
    access = RegistryAccess(registry.host, plain_http=True)
    with RegistryClient(
        {registry.host: access},
        internal_hosts=frozenset({registry.host}),
        sleep=waited.append,
    ) as client:
        registry.fail("HEAD", "/manifests/", status=401, headers=young, times=2)
        assert client.resolve(reference) == DESCRIPTOR
        assert len(waited) == 1
        assert 1 <= waited[0] <= 2
        assert len(registry.seen("GET", "^/token")) == 1
        registry.fail("HEAD", "/manifests/", status=401, headers=young)
        with pytest.raises(AccessDenied):
            client.resolve(reference)
        assert len(waited) == 2
        registry.mend()
        registry.make_private(NAME)
        registry.revoke_tokens()
        with pytest.raises(AccessDenied):  # for less than was asked for, always
            client.manifest(reference)
        assert len(waited) == 2


def test_an_encoding_that_was_not_asked_for_is_named(
    registry: FakeRegistry, client: RegistryClient, reference: Reference
) -> None:
    registry.push_blob(NAME, IMAGE.manifest)

    def packed(_path: str, reply: Reply) -> Reply:
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        return Reply(200, headers, gzip.compress(reply.body))

    registry.spoil("GET", "", packed)
    for ask in (
        lambda: client.manifest(reference),
        lambda: list(client.tags(reference)),
        lambda: _read_manifest_as_blob(client, reference),
    ):
        with pytest.raises(WorkerError, match=r"gzip.*not asked for.*proxy"):
            ask()


def test_an_encoding_that_is_only_said_harms_nothing(
    registry: FakeRegistry, client: RegistryClient, reference: Reference
) -> None:
    registry.push_blob(NAME, IMAGE.manifest)
    registry.change_headers("GET", "", {"Content-Encoding": "gzip"})
    assert client.manifest(reference).raw == IMAGE.manifest
    assert _read_manifest_as_blob(client, reference) == IMAGE.manifest
