"""Whose certificates are believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images.oci import build_image, digest_of, tar_of
from tests.support.registries.certificates import ServerCertificate, make_certificate
from tests.support.registries.fake_registry import FakeRegistry
from workers.reference import Reference
from workers.registry import (
    RegistryAccess,
    RegistryClient,
    Timeouts,
    UntrustedCertificate,
)

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


def test_a_registry_with_an_authority_of_its_own_is_believed_when_it_is_named(
    registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    registry.tokens_for_all = True
    with _client(registry.host, ca_file=certificate.authority) as client:
        _pull(client, registry.host)


def test_an_unknown_authority_is_refused_with_the_mend(registry: FakeRegistry) -> None:
    with (
        _client(registry.host) as client,
        pytest.raises(UntrustedCertificate, match=f"{registry.host}.*ca_file"),
    ):
        _pull(client, registry.host)
    assert registry.seen() == []


def test_a_certificate_for_another_name_is_refused(
    registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    port = registry.host.partition(":")[2]
    with _client(f"localhost:{port}", ca_file=certificate.authority) as client:
        _pull(client, f"localhost:{port}")
    other = f"other.example:{port}"
    with (
        _client(other, ca_file=certificate.authority) as client,
        pytest.raises(UntrustedCertificate, match="Hostname mismatch"),
    ):
        _pull(client, other)


def test_the_authority_of_another_is_not_enough(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path)
    with (
        _client(registry.host, ca_file=other.authority) as client,
        pytest.raises(UntrustedCertificate),
    ):
        _pull(client, registry.host)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_authority_that_cannot_be_read_is_named(
    registry: FakeRegistry, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with (
        _client(registry.host, ca_file=path) as client,
        pytest.raises(UntrustedCertificate, match=f"{path}.*PEM"),
    ):
        _pull(client, registry.host)
