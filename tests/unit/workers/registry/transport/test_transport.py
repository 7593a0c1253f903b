"""TLS, and what a transport does below the registry's own rules."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.registries.certificates import ServerCertificate
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.pulls import IMAGE, NAME, pull, tls_client
from workers.errors import WorkerError
from workers.registry import (
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
)
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.transport import Transport


def test_plain_http_is_not_tried_where_tls_fails(
    certificate: ServerCertificate,
) -> None:
    with FakeRegistry() as plain:
        plain.hold_image(NAME, "v1", IMAGE)
        with (
            tls_client(plain.host, ca_file=certificate.authority) as client,
            pytest.raises(RegistryProtocolError, match="plain_http: true"),
        ):
            pull(client, plain.host)
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
        with tls_client(host) as client, pytest.raises(RegistryUnavailable, match=host):
            pull(client, host)
        # Should the request not have been repeated, this is the second.
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname(), timeout=1).close()
        thread.join()


@pytest.mark.slow
def test_a_handshake_that_never_ends_is_for_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            tls_client(host) as client,
            pytest.raises(RegistryUnavailable, match="does not answer in time"),
        ):
            pull(client, host)


def test_a_connection_that_is_not_accepted_is_for_later() -> None:
    def look_up(_host: str, _port: int) -> list[str]:
        raise TimeoutError

    with (
        RegistryClient({}, internal_hosts=frozenset(), look_up=look_up) as client,
        pytest.raises(RegistryUnavailable, match="does not answer in time"),
    ):
        pull(client, "registry.example")


@given(st.text() | st.text(alphabet="a.:/\\@?#%[]1 "))
def test_any_url_is_sent_or_refused(text: str) -> None:
    def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    transport = Transport(AddressGuard(frozenset(), look_up=look_up))
    for url in (text, f"http://{text}", f"http://a.example/{text}"):
        with pytest.raises(WorkerError):
            transport.send("GET", url, {})


def test_a_redirect_away_from_tls_is_refused(
    tls_registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    with FakeRegistry() as plain:
        tls_registry.redirect("/manifests/", plain.url)
        with (
            tls_client(tls_registry.host, ca_file=certificate.authority) as client,
            pytest.raises(RegistryProtocolError, match=f"{plain.url}, away from TLS"),
        ):
            pull(client, tls_registry.host)
        assert plain.seen() == []


def test_a_token_server_without_tls_is_not_asked(
    tls_registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    tls_registry.tokens_for_all = True
    tls_registry.realm = f"http://{tls_registry.host}/token"
    with (
        tls_client(tls_registry.host, ca_file=certificate.authority) as client,
        pytest.raises(Exception, match="https is needed"),
    ):
        pull(client, tls_registry.host)


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
        with tls_client(registry.host, plain_http=True) as client:
            pull(client, registry.host)
        for asked in registry.seen():
            assert not {"Authorization", "Cookie"} & asked.headers.keys()


@pytest.mark.slow
def test_connections_are_kept_and_closed_at_the_end(
    tls_registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    tls_registry.tokens_for_all = True
    with tls_client(tls_registry.host, ca_file=certificate.authority) as client:
        pull(client, tls_registry.host)
        pull(client, tls_registry.host)
        # Challenge, token, manifests and blobs: one handshake.
        assert len(tls_registry._server._open) == 1


def test_a_client_that_never_connected_closes_quietly() -> None:
    tls_client("registry.example").close()
