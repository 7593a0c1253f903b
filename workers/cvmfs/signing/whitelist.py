"""The whitelist ``.cvmfswhitelist``: which certificates may sign the manifest.

It is signed with the *master* key, whose public half clients have installed, and ends
after 30 days so that a lost repository key does not live for ever.

Its signature is not the manifest's kind: the text of the hash itself is padded (PKCS#1
type 1) and put through the private key, with neither a DigestInfo nor a second hash
(``openssl pkeyutl -sign`` does the same).

Source: cvmfs/whitelist.cc, crypto/signature.cc, ``VerifyRsa``; cvmfs-format.md 5.2.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import Encoding

from workers.cvmfs.errors import Malformed, NotTrusted, WhitelistExpired
from workers.cvmfs.signing.signed_text import SignedText
from workers.cvmfs.values.hash import ContentHash

VALID_DAYS = 30
_TIME_FORMAT = "%Y%m%d%H%M%S"
_TIME = re.compile(r"E([0-9]{14})")
_NAME_LINE = 2


@dataclass(frozen=True, slots=True)
class Whitelist:
    """What a whitelist says.

    Attributes:
        fqrn: the repository it is for.
        expires: until when; see ``is_valid_at``.
        fingerprints: hashes of the certificates (DER) that it names.
    """

    fqrn: str
    expires: datetime
    fingerprints: tuple[ContentHash, ...]

    @classmethod
    def parse(cls, data: bytes) -> "Whitelist":
        """Read a whitelist, without verifying it.

        Raises:
            Malformed: it does not follow the format.
        """
        try:
            lines = SignedText.parse(data).text.decode().split("\n")
        except UnicodeDecodeError as error:
            raise Malformed("whitelist is not text") from error
        if len(lines) <= _NAME_LINE or not lines[_NAME_LINE].startswith("N"):
            raise Malformed("whitelist without the name of its repository")
        fingerprints = [
            _parse_fingerprint(line)
            for line in lines[_NAME_LINE + 1 :]
            if line and not line.startswith(("V", "W", "#"))
        ]
        return cls(lines[_NAME_LINE][1:], _parse_expiry(lines[1]), tuple(fingerprints))

    @property
    def ends(self) -> float:
        """Unix time from which it holds no more.

        Clients compare down to the hour only: it ends at the *start* of its last hour.
        """
        return self.expires.replace(minute=0, second=0, microsecond=0).timestamp()

    def is_valid_at(self, now: int) -> bool:
        """Tell whether it still holds at unix time ``now``; see ``ends``."""
        return now < self.ends

    def check(self, fqrn: str, certificate: x509.Certificate) -> None:
        """Check that it lets a certificate speak for a repository.

        Raises:
            NotTrusted: it is another repository's, or does not name the certificate.
        """
        if self.fqrn != fqrn:
            raise NotTrusted(f"whitelist is for {self.fqrn!r}, not {fqrn}")
        der = certificate.public_bytes(Encoding.DER)
        if not any(
            ContentHash.of(der, known.algorithm) == known for known in self.fingerprints
        ):
            raise NotTrusted(
                f"whitelist does not name the certificate {fingerprint(certificate)}:"
                " sign a new one"
            )

    def check_date(self, now: int) -> None:
        """Check that it holds at unix time ``now``.

        Raises:
            WhitelistExpired: it does not.
        """
        if not self.is_valid_at(now):
            raise WhitelistExpired(
                f"whitelist of {self.fqrn} expired at"
                f" {self.expires:%Y-%m-%d %H}:00 UTC: renew it with the master key"
            )


def verify_whitelist(data: bytes, public_key: rsa.RSAPublicKey) -> Whitelist:
    """Read a whitelist and verify its signature; its date is the caller's to check.

    Args:
        data: the bytes of ``.cvmfswhitelist``.
        public_key: of the master key.

    Raises:
        Malformed: it is not readable.
        NotTrusted: hash or signature do not hold.
    """
    signed = SignedText.parse(data)
    signed.check_hash("whitelist")
    try:
        text = public_key.recover_data_from_signature(
            signed.signature, padding.PKCS1v15(), NoDigestInfo()
        )
    except InvalidSignature as error:
        raise NotTrusted("whitelist: not signed with the master key") from error
    if text != signed.to_sign:
        raise NotTrusted("whitelist: the signature is another text's")
    return Whitelist.parse(data)


def write_whitelist(
    fqrn: str,
    fingerprints: list[ContentHash],
    master_key: rsa.RSAPrivateKey,
    *,
    now: int,
    days: int = VALID_DAYS,
) -> bytes:
    """Return the file: a whitelist that holds from ``now`` for ``days``."""
    issued = datetime.fromtimestamp(now, UTC)
    expires = issued + timedelta(days=days)
    lines = [
        issued.strftime(_TIME_FORMAT),
        f"E{expires.strftime(_TIME_FORMAT)}",
        f"N{fqrn}",
        *map(_fingerprint_text, fingerprints),
    ]
    text = "".join(line + "\n" for line in lines).encode()
    digest = ContentHash.of(text)
    signature = master_key.sign(
        str(digest).encode(), padding.PKCS1v15(), NoDigestInfo()
    )
    return SignedText(text, digest, signature).file()


def fingerprint(certificate: x509.Certificate) -> ContentHash:
    """Return the hash by which a whitelist names a certificate."""
    return ContentHash.of(certificate.public_bytes(Encoding.DER))


def _fingerprint_text(digest: ContentHash) -> str:
    """Return upper-case pairs joined by colons, as ``openssl x509 -fingerprint``."""
    number, dash, algorithm = str(digest).upper().partition("-")
    pairs = (number[index : index + 2] for index in range(0, len(number), 2))
    return ":".join(pairs) + dash + algorithm


def _parse_fingerprint(line: str) -> ContentHash:
    text = re.split(r"[ \t#]", line, maxsplit=1)[0]
    return ContentHash.parse(text.replace(":", "").lower())


def _parse_expiry(line: str) -> datetime:
    match = _TIME.fullmatch(line)
    if match is None:
        raise Malformed(f"whitelist expiry is not a time: {line[:40]!r}")
    try:
        return datetime.strptime(match[1], _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise Malformed(f"whitelist expiry is not a time: {line[:40]!r}") from error
