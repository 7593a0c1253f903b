import json
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping

import pytest

from tests.support.images.oci import build_image, digest_of, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import MisbehavingServer, Reply
from workers.errors import PermanentError
from workers.reference import InvalidReference, Reference
from workers.registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    AccessDenied,
    DigestMismatch,
    ImageNotFound,
    ManifestDescriptor,
    RefusedAddress,
    RegistryAccess,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
    Timeouts,
    UnsupportedManifest,
)
from workers.registry.listing.docker_hub import namespace_path, parse_namespace
from workers.registry.listing.pages import list_namespace

NAME = "atlas/analysis"
IMAGE = build_image([tar_of({"etc/motd": b"hello\n"})])
DESCRIPTOR = ManifestDescriptor(OCI_MANIFEST, IMAGE.digest, len(IMAGE.manifest))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        yield registry


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[RegistryClient]:
    with _client(registry) as client:
        yield client


@pytest.fixture
def reference(registry: FakeRegistry) -> Reference:
    return Reference.parse(f"{registry.host}/{NAME}:v1")


def _client(
    registry: FakeRegistry,
    *,
    internal: tuple[str, ...] = (),
    timeouts: Timeouts | None = None,
    with_password: bool = False,
) -> RegistryClient:
    username, password = registry.credentials if with_password else (None, None)
    access = RegistryAccess(
        registry.host, plain_http=True, username=username, password=password
    )
    return RegistryClient(
        {registry.host: access},
        internal_hosts=frozenset({registry.host, *internal}),
        timeouts=timeouts,
        sleep=lambda _seconds: None,
    )


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
    with pytest.raises(RegistryProtocolError, match="more than 4194304 bytes"):
        client.manifest(reference)


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
        _client(registry, timeouts=timeouts) as impatient,
        pytest.raises(RegistryUnavailable, match=registry.host),
    ):
        impatient.manifest(reference)
    registry.mend()
    with _client(registry) as client:
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


# redirects


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
        with _client(registry, internal=internal, with_password=True) as client:
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
        with _client(registry, internal=internal, with_password=True) as client:
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
    with _client(registry, with_password=True) as client:
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
        with _client(registry, internal=(storage.host,)) as client:
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
            _client(registry, internal=(storage.host,), timeouts=timeouts) as client,
            pytest.raises(RegistryUnavailable) as refusal,
        ):
            client.manifest(reference)
    error: BaseException | None = refusal.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__


# tags


def test_tags_come_page_by_page(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    tags = [f"v{n:03}" for n in range(25)]
    for tag in tags:
        registry.hold_image("cms/many", tag, IMAGE)
    registry.page_tags = 10
    many = Reference(reference.registry, "cms/many", "latest")
    assert list(client.tags(many)) == tags
    assert len(registry.seen("GET", "/tags/")) == 3


def test_a_page_that_fails_ends_the_list_with_an_error(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    for tag in ("v2", "v3"):
        registry.hold_image(NAME, tag, IMAGE)
    registry.page_tags = 2
    registry.fail("GET", "last=v2", status=500)
    listed = client.tags(reference)
    assert [next(listed), next(listed)] == ["v1", "v2"]
    with pytest.raises(RegistryUnavailable, match=f"^tags of {reference.name}"):
        next(listed)


def test_pages_without_end_are_refused(
    client: RegistryClient,
    registry: FakeRegistry,
    reference: Reference,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.registry.listing.pages._MOST_PAGES", 3)
    link = {"Link": f'</v2/{NAME}/tags/list?n=1>; rel="next"'}
    registry.change_headers("GET", "/tags/", link)
    with pytest.raises(RegistryProtocolError, match="more than 3 pages"):
        list(client.tags(reference))


def test_tags_of_an_unknown_repository_are_not_found(
    client: RegistryClient, reference: Reference
) -> None:
    with pytest.raises(ImageNotFound, match="NAME_UNKNOWN"):
        list(client.tags(Reference(reference.registry, "no/such", "latest")))


def test_a_list_that_leads_back_to_itself_is_no_list(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    def loop(path: str, reply: Reply) -> Reply:
        return Reply(200, {**reply.headers, "Link": f"<{path}>; rel=next"}, reply.body)

    registry.spoil("GET", "/tags/list", loop, times=None)
    with pytest.raises(RegistryProtocolError, match="repeats itself"):
        list(client.tags(reference))
    assert len(registry.seen("GET", "/tags/")) == 1


def test_a_registry_may_list_its_repositories(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    with pytest.raises(ImageNotFound):
        list(client.repositories(reference.registry, None))
    registry.has_catalog = True
    listed = list(client.repositories(reference.registry, None))
    assert listed == [reference.repository]


# Docker Hub has a list of its own.


def test_a_namespace_of_docker_hub_is_listed_to_its_last_page(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    def page(path: str, _reply: Reply) -> Reply:
        number = int(path.rpartition("=")[2])
        listed = {
            "next": None if number == 3 else f"https://x/?page={number + 1}",
            "results": [{"name": f"image{number}"}],
        }
        return Reply(200, {}, json.dumps(listed).encode())

    registry.spoil("GET", "/v2/namespaces/atlas/repositories", page, times=None)
    session = client._session(reference.registry)
    listed = list(list_namespace(session, "atlas"))
    assert listed == ["atlas/image1", "atlas/image2", "atlas/image3"]
    registry.fail("GET", "page=2", status=500)
    names = list_namespace(session, "atlas")
    assert next(names) == "atlas/image1"
    with pytest.raises(RegistryUnavailable):
        next(names)


def test_docker_hub_is_asked_for_one_namespace_at_a_time(
    client: RegistryClient,
) -> None:
    with pytest.raises(PermanentError, match="one namespace at a time"):
        client.repositories("docker.io", None)


def test_docker_hub_lists_a_namespace_page_by_page() -> None:
    first = b'{"count": 2, "next": "https://x/?page=2", "results": [{"name": "a"}]}'
    last = b'{"count": 2, "next": null, "results": [{"name": "b", "namespace": "n"}]}'
    assert parse_namespace(first, "atlas", "s") == (["atlas/a"], True)
    assert parse_namespace(last, "atlas", "s") == (["atlas/b"], False)
    path = namespace_path("atlas", 2)
    assert path == "/v2/namespaces/atlas/repositories?page_size=100&page=2"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"results": null, "next": null}',
        b'{"results": [{"name": "../../x"}], "next": null}',
        b'{"results": [{"name": 1}], "next": null}',
        b'{"results": [{}], "next": null}',
        b'{"results": []}',
    ],
)
def test_what_is_no_list_of_docker_hub_s_is_refused(body: bytes) -> None:
    with pytest.raises(RegistryProtocolError, match=r"^s: "):
        parse_namespace(body, "atlas", "s")


def test_no_namespace_leads_elsewhere() -> None:
    for name in ("..", "a?b", "a/../b", "A", ""):
        with pytest.raises(InvalidReference):
            namespace_path(name, 1)


# is_public


def test_an_image_is_public_when_nobody_in_particular_can_pull_it(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.tokens_for_all = True
    with _client(registry, with_password=True) as client:
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
    with _client(registry, with_password=True) as client:
        assert not client.is_public(reference)


def test_a_password_alone_means_private(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.challenge = 'Basic realm="registry"'
    registry.make_private(NAME)
    with _client(registry, with_password=True) as client:
        assert not client.is_public(reference)


def test_whether_an_image_is_public_is_not_guessed(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.fail("HEAD", "/manifests/", status=503)
    with pytest.raises(RegistryUnavailable):
        client.is_public(reference)


# which registry


def test_docker_hub_is_asked_at_its_api_and_its_token_server() -> None:
    hub = RegistryAccess("docker.io")
    assert hub.api_host == "registry-1.docker.io"
    assert hub.trusted_token_hosts == ("auth.docker.io",)
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with (
        RegistryClient({}, internal_hosts=frozenset(), look_up=look_up) as client,
        pytest.raises(RefusedAddress),
    ):
        client.resolve(Reference.parse("alpine"))
    assert asked == [("registry-1.docker.io", 443)]


@pytest.mark.parametrize("text", ["127.0.0.1:6379/a", "localhost/a", "[::1]/a"])
def test_an_image_at_a_private_address_is_refused_unless_configured(text: str) -> None:
    with (
        RegistryClient({}, internal_hosts=frozenset()) as client,
        pytest.raises(RefusedAddress),
    ):
        client.resolve(Reference.parse(text))


def test_internal_hosts_and_their_token_servers_may_be_anywhere() -> None:
    accesses = {
        "registry.internal": RegistryAccess(
            "registry.internal", token_hosts=("sso.internal:8443",)
        ),
        "far.example": RegistryAccess("far.example", token_hosts=("near.internal",)),
    }
    hosts = frozenset({"registry.internal", "docker.io", "[::1]:5000"})
    client = RegistryClient(
        accesses, internal_hosts=hosts, look_up=lambda _host, _port: ["10.0.0.1"]
    )
    for host, port in [
        ("registry.internal", 443),
        ("registry.internal", 80),
        ("sso.internal", 8443),
        ("registry-1.docker.io", 443),
        ("::1", 5000),
    ]:
        assert client._guard.addresses(host, port) == ["10.0.0.1"]
    for host, port in [
        ("registry.internal", 6379),
        ("sso.internal", 443),
        ("near.internal", 443),
        ("auth.docker.io", 443),
    ]:
        with pytest.raises(RefusedAddress):
            client._guard.addresses(host, port)
