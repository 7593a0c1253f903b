"""A certificate authority of our own, and certificates for servers on loopback."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a TLS server shows, and what a client must trust to believe it."""

    certificate: Path
    key: Path
    authority: Path


def make_certificate(
    folder: Path, *, address: str = "127.0.0.1", name: str = "localhost", days: int = 1
) -> ServerCertificate:
    """Write a fresh authority and a certificate by it for ``address`` and ``name``.

    The certificate ends in so many days; the authority lives longer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("authority of a test")

    def signed(
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        lifetime: dt.timedelta = dt.timedelta(days=1),
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=authority_name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - dt.timedelta(days=2),
            not_valid_after=now + lifetime,
        )
        builder = builder.add_extension(extension, critical=True)
        return builder.sign(authority_key, hashes.SHA256())

    authority = signed(
        authority_name,
        authority_key,
        x509.BasicConstraints(ca=True, path_length=0),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName(name)]
    certificate = signed(
        _name(name),
        key,
        x509.SubjectAlternativeName(names),
        dt.timedelta(days=days),
    )
    made = ServerCertificate(
        folder / "server.crt", folder / "server.key", folder / "authority.crt"
    )
    made.certificate.write_bytes(certificate.public_bytes(_PEM))
    made.authority.write_bytes(authority.public_bytes(_PEM))
    made.key.write_bytes(
        key.private_bytes(
            _PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
