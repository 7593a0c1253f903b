"""What is published: the manifest, and why it may be believed.

The chain of trust is ``signing/trust.py``'s, which stops where it breaks. Here every
link is tried by itself, so that an expired whitelist does not hide a wrong signature.

Source: cvmfs/manifest_fetch.cc; cvmfs-format.md sections 5.1 to 5.3.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from workers.cvmfs.checking.finding import Finding, Findings
from workers.cvmfs.errors import FormatError
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.signing.keys import parse_certificate, public_key_of
from workers.cvmfs.signing.manifest import RepositoryManifest, verify_manifest
from workers.cvmfs.signing.whitelist import Whitelist, verify_whitelist
from workers.cvmfs.storage.storage import MANIFEST, WHITELIST, ObjectSource
from workers.cvmfs.values.hash import ContentHash, Kind


class PublishedManifest(NamedTuple):
    """The manifest, as bytes and as what it says, believed or not."""

    data: bytes
    manifest: RepositoryManifest


def examine_manifest(
    source: ObjectSource, fqrn: str
) -> Findings[PublishedManifest | None]:
    """Read the manifest, and compare its name; ``None`` when it cannot be read."""
    try:
        data = source.get(MANIFEST)
        manifest = RepositoryManifest.parse(data)
    except FormatError as error:
        yield Finding.of(MANIFEST, error)
        return None
    if manifest.fqrn != fqrn:
        yield Finding.of(MANIFEST, f"is of {manifest.fqrn!r}, not {fqrn}")
    return PublishedManifest(data, manifest)


def examine_trust(
    source: ObjectSource,
    fqrn: str,
    head: PublishedManifest,
    public_keys: Sequence[rsa.RSAPublicKey],
    now: int,
) -> Iterator[Finding]:
    """Examine certificate, signatures and whitelist.

    Args:
        source: the storage.
        fqrn: the repository asked for.
        head: its manifest.
        public_keys: the master keys' public halves that clients have; one will do.
        now: unix time.
    """
    certificate = yield from _certificate(source, head.manifest.certificate)
    if certificate is not None:
        try:
            verify_manifest(head.data, public_key_of(certificate))
        except FormatError as error:
            yield Finding.of(MANIFEST, error)
    whitelist = yield from _whitelist(source, public_keys)
    if whitelist is None:
        return
    try:
        whitelist.check_date(now)
    except FormatError as error:
        yield Finding.of(WHITELIST, error)
    if certificate is not None:
        try:
            whitelist.check(fqrn, certificate)
        except FormatError as error:
            yield Finding.of(WHITELIST, error)


def examine_alternative_names(
    source: ObjectSource, manifest: RepositoryManifest
) -> Iterator[Finding]:
    """Look for the second names of what a client needs first.

    Source: cvmfs/crypto/hash.h, ``MakeAlternativePath``; manifest line ``A``.
    """
    if not manifest.has_alternative_names:
        return
    for digest, kind in (
        (manifest.certificate, Kind.CERTIFICATE),
        (manifest.root_catalog, Kind.CATALOG),
    ):
        name = f".cvmfsalt-{digest}{kind}"
        try:
            is_there = source.exists(name)
        except FormatError as error:
            yield Finding.of(name, error)
        else:
            if not is_there:
                yield Finding.of(name, "is missing, though the manifest has Ayes")


def _certificate(
    source: ObjectSource, digest: ContentHash
) -> Findings[x509.Certificate | None]:
    try:
        return parse_certificate(get_object(source, digest, Kind.CERTIFICATE))
    except FormatError as error:
        yield Finding.of(digest.path(Kind.CERTIFICATE), error)
        return None


def _whitelist(
    source: ObjectSource, public_keys: Sequence[rsa.RSAPublicKey]
) -> Findings[Whitelist | None]:
    """Read the whitelist; what does not verify is read all the same."""
    try:
        data = source.get(WHITELIST)
        whitelist = Whitelist.parse(data)
    except FormatError as error:
        yield Finding.of(WHITELIST, error)
        return None
    problem: FormatError | None = None
    for public_key in public_keys:
        try:
            return verify_whitelist(data, public_key)
        except FormatError as error:
            problem = error
    yield Finding.of(WHITELIST, problem or "there is no public key to verify it with")
    return whitelist
