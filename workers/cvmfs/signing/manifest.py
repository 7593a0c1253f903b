"""The manifest ``.cvmfspublished``: the one file that says what a repository is now.

Replacing it is the commit point of everything. It is signed with the *repository* key,
whose certificate it names; that this certificate may speak for the repository is the
whitelist's word.

Source: cvmfs/manifest.cc, crypto/signature.cc, ``SignatureManager::Sign``;
cvmfs-format.md section 5.1.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from workers.cvmfs.errors import InvalidKeys, Malformed, NotTrusted
from workers.cvmfs.signing.signed_text import SignedText
from workers.cvmfs.values.hash import ContentHash

ROOT_PATH_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
"""MD5 of the empty path, value of ``R``; clients compare it."""
_MAX_NUMBER_DIGITS = 19
_WORDS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class RepositoryManifest:
    """What a manifest says.

    Attributes:
        fqrn: the repository's name (``N``).
        root_catalog: hash of the root catalog (``C``).
        root_catalog_size: of its database, in bytes; 0 if not known (``B``).
        revision: number of the revision, never reused, never lowered (``S``).
        timestamp: when it was published, unix time (``T``).
        ttl: seconds between two looks of a client; clients obey the property ``TTL``
            of the root catalog, which is kept equal (``D``).
        certificate: hash of the repository key's certificate (``X``).
        history: hash of the tag database (``H``).
        metainfo: hash of the description (``M``).
        reflog: hash of the raw file ``.cvmfsreflog`` (``Y``).
        is_garbage_collectable: whether ``cvmfs_server gc`` may run (``G``).
        has_alternative_names: whether ``.cvmfsalt-`` links exist (``A``).
    """

    fqrn: str
    root_catalog: ContentHash
    root_catalog_size: int
    revision: int
    timestamp: int
    ttl: int
    certificate: ContentHash
    history: ContentHash | None = None
    metainfo: ContentHash | None = None
    reflog: ContentHash | None = None
    is_garbage_collectable: bool = False
    has_alternative_names: bool = False

    def text(self) -> bytes:
        """Return the lines that are signed, in the order CernVM-FS writes them."""
        lines = [
            f"C{self.root_catalog}",
            f"B{self.root_catalog_size}",
            f"R{ROOT_PATH_MD5}",
            f"D{self.ttl}",
            f"S{self.revision}",
            f"G{'yes' if self.is_garbage_collectable else 'no'}",
            f"A{'yes' if self.has_alternative_names else 'no'}",
            f"N{self.fqrn}",
            f"X{self.certificate}",
        ]
        if self.history is not None:
            lines.append(f"H{self.history}")
        lines.append(f"T{self.timestamp}")
        if self.metainfo is not None:
            lines.append(f"M{self.metainfo}")
        if self.reflog is not None:
            lines.append(f"Y{self.reflog}")
        return "".join(line + "\n" for line in lines).encode()

    @classmethod
    def parse(cls, data: bytes) -> "RepositoryManifest":
        """Read a signed manifest, without verifying it.

        Lines may come in any order; the last of several counts; unknown ones are
        ignored, as clients do.

        Raises:
            Malformed: a line that every client needs is missing, or is not readable.
        """
        return _parsed(SignedText.parse(data).text)

    def sign(self, key: rsa.RSAPrivateKey) -> bytes:
        """Return the file: the text, signed with the repository key.

        The signature is PKCS#1 v1.5 with SHA-1, whatever the repository's hash is.

        Raises:
            InvalidKeys: this machine's policy forbids signatures with SHA-1.
        """
        text = self.text()
        digest = ContentHash.of(text)
        try:
            signature = key.sign(
                str(digest).encode(),
                padding.PKCS1v15(),
                hashes.SHA1(),  # noqa: S303 - the format's choice, not ours
            )
        except UnsupportedAlgorithm as error:
            raise InvalidKeys(
                "the crypto policy of this machine forbids SHA-1 signatures,"
                " which CernVM-FS needs"
            ) from error
        return SignedText(text, digest, signature).file()


def verify_manifest(data: bytes, public_key: rsa.RSAPublicKey) -> RepositoryManifest:
    """Read a manifest and verify its signature.

    Args:
        data: the bytes of ``.cvmfspublished``.
        public_key: of the certificate that the manifest names.

    Raises:
        Malformed: it is not readable.
        NotTrusted: hash or signature do not hold.
    """
    signed = SignedText.parse(data)
    signed.check_hash("manifest")
    try:
        public_key.verify(
            signed.signature,
            signed.to_sign,
            padding.PKCS1v15(),
            hashes.SHA1(),  # noqa: S303 - as above
        )
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise NotTrusted("manifest: not signed with its certificate's key") from error
    return _parsed(signed.text)


def _parsed(text: bytes) -> RepositoryManifest:
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("manifest is not ASCII text") from error
    fields = {line[0]: line[1:] for line in lines if line}
    missing = "".join(sorted(set("CDRSNX") - set(fields)))
    if missing:
        raise Malformed(f"manifest without the lines {missing}")
    if fields["R"] != ROOT_PATH_MD5:
        raise Malformed(f"manifest of another root path: {fields['R'][:80]!r}")

    def hash_or_none(key: str) -> ContentHash | None:
        return ContentHash.parse(fields[key]) if key in fields else None

    return RepositoryManifest(
        fqrn=fields["N"],
        root_catalog=ContentHash.parse(fields["C"]),
        root_catalog_size=_number(fields, "B"),
        revision=_number(fields, "S"),
        timestamp=_number(fields, "T"),
        ttl=_number(fields, "D"),
        certificate=ContentHash.parse(fields["X"]),
        history=hash_or_none("H"),
        metainfo=hash_or_none("M"),
        reflog=hash_or_none("Y"),
        is_garbage_collectable=_WORDS.get(fields.get("G", "no"), False),
        has_alternative_names=_WORDS.get(fields.get("A", "no"), False),
    )


def _number(fields: dict[str, str], key: str) -> int:
    text = fields.get(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_NUMBER_DIGITS):
        raise Malformed(f"manifest line {key} is not a number: {text[:80]!r}")
    return int(text)
