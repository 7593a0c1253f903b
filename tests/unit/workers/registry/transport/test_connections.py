"""Whose certificates are believed."""

import ssl
from pathlib import Path

import pytest

from tests.support.registries.certificates import ServerCertificate, make_certificate
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.pulls import IMAGE, NAME, pull, tls_client
from tests.support.registries.raw_answers import raw_answers
from workers.media_types import OCI_MANIFEST
from workers.reference import Reference
from workers.registry import (
    ManifestDescriptor,
    RegistryUnavailable,
    UntrustedCertificate,
)
from workers.registry.transport.connections import trust

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nDocker-Content-Digest: %s\r\n" % (
    OCI_MANIFEST.encode(),
    IMAGE.digest.encode(),
)
SIZE = len(IMAGE.manifest)


def resolve(host: str) -> ManifestDescriptor:
    with tls_client(host, plain_http=True) as client:
        return client.resolve(Reference.parse(f"{host}/{NAME}:v1"))


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


def test_what_is_checked_depends_on_no_interpreter() -> None:
    context = trust(None)
    flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.verify_flags == flags
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


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


def test_a_certificate_that_is_out_of_date_has_to_be_renewed(tmp_path: Path) -> None:
    expired = make_certificate(tmp_path, days=-1)
    with FakeRegistry(tls=expired) as registry:
        renew = pytest.raises(UntrustedCertificate, match=r"expired.*renewed")
        with tls_client(registry.host, ca_file=expired.authority) as client, renew:
            pull(client, registry.host)


def test_an_answer_that_only_says_that_one_will_come_is_passed_over() -> None:
    early = (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    )
    final = HEAD + b"Content-Length: %d\r\n\r\n" % SIZE
    with raw_answers(early + final) as host:
        assert resolve(host) == ManifestDescriptor(OCI_MANIFEST, IMAGE.digest, SIZE)


def test_such_answers_without_end_are_none() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100
    broken = pytest.raises(RegistryUnavailable, match="broke the connection")
    with raw_answers(early) as host, broken:
        resolve(host)


@pytest.mark.parametrize(
    "lengths", [b"Content-Length: %d\r\n" * 2, b"Content-Length: %d, %d\r\n"]
)
def test_a_length_that_is_said_twice_counts_once(lengths: bytes) -> None:
    both = HEAD + lengths % (SIZE, SIZE) + b"\r\n"
    with raw_answers(both) as host:
        assert resolve(host).size == SIZE
    with raw_answers(both + IMAGE.manifest) as host:
        with tls_client(host, plain_http=True) as client:
            found = client.manifest(Reference.parse(f"{host}/{NAME}:v1"))
        assert found.raw == IMAGE.manifest


@pytest.mark.parametrize(
    "lengths", [b"Content-Length: %d\r\n" * 2, b"Content-Length: %d, %d\r\n"]
)
def test_two_lengths_are_none(lengths: bytes) -> None:
    both = HEAD + lengths % (SIZE, SIZE + 1) + b"\r\n"
    refused = pytest.raises(RegistryUnavailable, match="two lengths")
    with raw_answers(both) as host, refused:
        resolve(host)
