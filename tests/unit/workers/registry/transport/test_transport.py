"""TLS, and what a transport does below the registry's own rules."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import build_image, digest_of, tar_of
from tests.support.registries.certificates import ServerCertificate, make_certificate
from tests.support.registries.fake_registry import FakeRegistry
from workers.errors import WorkerError
from workers.reference import Reference
from workers.registry import (
    RegistryAccess,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
    Timeouts,
)
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.transport import Transport

NAME = "atlas/analysis"
IMAGE = build_image([tar_of({"etc/motd": b"hello\n"})])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def registry(certificate: ServerCertificate) -> Iterator[FakeRegistry]:
    with FakeRegistry(tls=certificate) as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        yield registry


def _client(
    host: str, *, ca_file: Path | None = None, plain_http: bool = False
) -> RegistryClient:
    access = RegistryAccess(host, plain_http=plain_http, ca_file=ca_file)
    return RegistryClient(
        {host: access},
        internal_hosts=frozenset({host}),
        timeouts=Timeouts(connect_seconds=1, stall_seconds=5, answer_seconds=5),
        look_up=lambda _host, _port: ["127.0.0.1"],
    )


def _pull(client: RegistryClient, host: str) -> None:
    reference = Reference.parse(f"{host}/{NAME}:v1")
    assert client.manifest(reference).raw == IMAGE.manifest
    layer = IMAGE.layers[0].blob
    with client.blob(reference, digest_of(layer), len(layer)) as stream:
        assert stream.read() == layer


def test_plain_http_is_not_tried_where_tls_fails(
    certificate: ServerCertificate,
) -> None:
    with FakeRegistry() as plain:
        plain.hold_image(NAME, "v1", IMAGE)
        with (
            _client(plain.host, ca_file=certificate.authority) as client,
            pytest.raises(RegistryProtocolError, match="plain_http: true"),
        ):
            _pull(client, plain.host)
        assert plain.seen() == []


def test_a_handshake_that_breaks_is_for_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"

        def slam() -> None:
            # Once, and once more because a request is repeated.
            for _ in range(2):
                server.accept()[0].close()

        thread = threading.Thread(target=slam)
        thread.start()
        with _client(host) as client, pytest.raises(RegistryUnavailable, match=host):
            _pull(client, host)
        # Should the request not have been repeated, this is the second.
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname(), timeout=1).close()
        thread.join()


def test_a_handshake_that_never_ends_is_for_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            _client(host) as client,
            pytest.raises(RegistryUnavailable, match="does not answer in time"),
        ):
            _pull(client, host)


def test_a_connection_that_is_not_accepted_is_for_later() -> None:
    def look_up(_host: str, _port: int) -> list[str]:
        raise TimeoutError

    with (
        RegistryClient({}, internal_hosts=frozenset(), look_up=look_up) as client,
        pytest.raises(RegistryUnavailable, match="does not answer in time"),
    ):
        _pull(client, "registry.example")


@given(st.text() | st.text(alphabet="a.:/\\@?#%[]1 "))
def test_any_url_is_sent_or_refused(text: str) -> None:
    def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    transport = Transport(AddressGuard(frozenset(), look_up=look_up))
    for url in (text, f"http://{text}", f"http://a.example/{text}"):
        with pytest.raises(WorkerError):
            transport.send("GET", url, {})


def test_a_redirect_away_from_tls_is_refused(
    registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    with FakeRegistry() as plain:
        registry.redirect("/manifests/", plain.url)
        with (
            _client(registry.host, ca_file=certificate.authority) as client,
            pytest.raises(RegistryProtocolError, match=f"{plain.url}, away from TLS"),
        ):
            _pull(client, registry.host)
        assert plain.seen() == []


def test_a_token_server_without_tls_is_not_asked(
    registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    registry.tokens_for_all = True
    registry.realm = f"http://{registry.host}/token"
    with (
        _client(registry.host, ca_file=certificate.authority) as client,
        pytest.raises(Exception, match="https is needed"),
    ):
        _pull(client, registry.host)


def test_the_environment_of_the_process_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no .netrc, no cookie."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        cookie: dict[str, str | None] = {"Set-Cookie": "session=1; Path=/"}
        registry.change_headers("", "", cookie)
        with _client(registry.host, plain_http=True) as client:
            _pull(client, registry.host)
        for asked in registry.seen():
            assert not {"Authorization", "Cookie"} & asked.headers.keys()


def test_connections_are_kept_and_closed_at_the_end(
    registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    registry.tokens_for_all = True
    with _client(registry.host, ca_file=certificate.authority) as client:
        _pull(client, registry.host)
        _pull(client, registry.host)
        # Challenge, token, manifests and blobs: one handshake.
        assert len(registry._server._open) == 1


def test_a_client_that_never_connected_closes_quietly() -> None:
    _client("registry.example").close()
