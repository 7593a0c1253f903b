"""Whose certificates are believed."""

from pathlib import Path

import pytest

from tests.support.registries.certificates import ServerCertificate, make_certificate
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.pulls import pull, tls_client
from workers.registry import (
    UntrustedCertificate,
)


def test_a_registry_with_an_authority_of_its_own_is_believed_when_it_is_named(
    tls_registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    tls_registry.tokens_for_all = True
    with tls_client(tls_registry.host, ca_file=certificate.authority) as client:
        pull(client, tls_registry.host)


def test_an_unknown_authority_is_refused_with_the_mend(
    tls_registry: FakeRegistry,
) -> None:
    with (
        tls_client(tls_registry.host) as client,
        pytest.raises(UntrustedCertificate, match=f"{tls_registry.host}.*ca_file"),
    ):
        pull(client, tls_registry.host)
    assert tls_registry.seen() == []


def test_a_certificate_for_another_name_is_refused(
    tls_registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    port = tls_registry.host.partition(":")[2]
    with tls_client(f"localhost:{port}", ca_file=certificate.authority) as client:
        pull(client, f"localhost:{port}")
    other = f"other.example:{port}"
    with (
        tls_client(other, ca_file=certificate.authority) as client,
        pytest.raises(UntrustedCertificate, match="Hostname mismatch"),
    ):
        pull(client, other)


def test_the_authority_of_another_is_not_enough(
    tls_registry: FakeRegistry, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path)
    with (
        tls_client(tls_registry.host, ca_file=other.authority) as client,
        pytest.raises(UntrustedCertificate),
    ):
        pull(client, tls_registry.host)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_authority_that_cannot_be_read_is_named(
    tls_registry: FakeRegistry, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with (
        tls_client(tls_registry.host, ca_file=path) as client,
        pytest.raises(UntrustedCertificate, match=f"{path}.*PEM"),
    ):
        pull(client, tls_registry.host)
