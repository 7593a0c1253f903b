"""Why a manifest may be believed: the whole chain, in the order clients follow it.

1. The manifest parses, and is the one of this repository.
2. The certificate object it names has that hash.
3. Its hash holds, and its signature by that certificate's key.
4. The whitelist's hash holds, and its signature by the public key the client has.
5. The whitelist is this repository's and names that certificate.
6. The whitelist has not expired. (Asked separately: an old revision can still be read,
   and a whitelist still be renewed, when its time is over.)

Nothing here touches disk or network but the one ``load`` function at the end.

Source: cvmfs/manifest_fetch.cc; cvmfs-format.md section 5.3.
"""

from cryptography.hazmat.primitives.asymmetric import rsa

from workers.cvmfs.errors import (
    Damaged,
    HeadUnreadable,
    InvalidKeys,
    Malformed,
    NotTrusted,
)
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.signing.keys import parse_certificate, public_key_of
from workers.cvmfs.signing.manifest import RepositoryManifest, verify_manifest
from workers.cvmfs.signing.whitelist import Whitelist, verify_whitelist
from workers.cvmfs.storage.storage import MANIFEST, WHITELIST, ObjectSource
from workers.cvmfs.values.hash import Kind


def verify_head(
    fqrn: str,
    manifest: bytes,
    certificate_pem: bytes,
    whitelist: bytes,
    public_key: rsa.RSAPublicKey,
) -> tuple[RepositoryManifest, Whitelist]:
    """Verify steps 1 and 3 to 5, and return what manifest and whitelist say.

    Args:
        fqrn: the repository asked for.
        manifest: the bytes of ``.cvmfspublished``.
        certificate_pem: content of the object that the manifest names.
        whitelist: the bytes of ``.cvmfswhitelist``.
        public_key: of the master key.

    Raises:
        Malformed: manifest or whitelist are not readable.
        NotTrusted: one step does not hold.
    """
    try:
        certificate = parse_certificate(certificate_pem)
    except InvalidKeys as error:
        raise NotTrusted(f"{fqrn}: the manifest's certificate: {error}") from error
    verified = verify_manifest(manifest, public_key_of(certificate))
    if verified.fqrn != fqrn:
        raise NotTrusted(f"manifest is of {verified.fqrn!r}, not {fqrn}")
    listed = verify_whitelist(whitelist, public_key)
    listed.check(fqrn, certificate)
    return verified, listed


def load_head(
    source: ObjectSource, fqrn: str, public_key: rsa.RSAPublicKey
) -> tuple[RepositoryManifest, Whitelist]:
    """Fetch the head of a repository and verify steps 1 to 5.

    Raises:
        NotFound: there is no repository.
        HeadUnreadable: manifest, whitelist or certificate are cut short or damaged.
        NotTrusted: one step does not hold.
    """
    data, what = source.get(MANIFEST), MANIFEST
    try:
        named = RepositoryManifest.parse(data).certificate
        what = "the certificate"
        pem = get_object(source, named, Kind.CERTIFICATE)
        what = WHITELIST  # of the rest the only one that was not parsed yet
        return verify_head(fqrn, data, pem, source.get(WHITELIST), public_key)
    except (Malformed, Damaged) as error:
        raise HeadUnreadable(
            f"{what}: {error}: see whether the storage is whole, or restore it"
        ) from error
