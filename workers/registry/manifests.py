"""Manifests as bytes: what must agree before they are believed.

Pure: nothing here reads from a network. What is inside a manifest is the business of
whoever asked for it.

Read first: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
(section "Pulling manifests"), and image-spec ``manifest.md`` and ``image-index.md``.
"""

from dataclasses import dataclass, field

from workers.documents.go_json import Struct, WrongJson
from workers.errors import PermanentError
from workers.media_types import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1_TYPES,
)
from workers.registry.digests import DigestMismatch, digest_of
from workers.registry.transport.answers import RegistryProtocolError, is_page

# What a request says we read.
ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_MANIFEST_LIST}, {DOCKER_MANIFEST}"

# distribution-spec, section "Pushing Manifests": registries take at least this much;
# GitLab's and most others take no more.
LARGEST_MANIFEST_BYTES = 4 * 1024 * 1024

# What old and simple registries say of any document; the document itself decides.
_SAYS_NOTHING = frozenset(
    {"", "application/json", "text/plain", "application/octet-stream"}
)


class UnsupportedManifest(PermanentError):
    """A manifest of a kind that we do not read, or one at odds with itself."""

    is_open = True


@dataclass(frozen=True, slots=True)
class ManifestDescriptor:
    """What a registry says a reference means at this moment.

    Attributes:
        media_type: one of ``INDEX_TYPES`` or ``MANIFEST_TYPES``.
        digest: of the manifest's raw bytes.
        size: bytes of the manifest.
    """

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest whose bytes agree with its digest.

    Attributes:
        media_type: one of ``INDEX_TYPES`` or ``MANIFEST_TYPES``.
        digest: of ``raw``.
        raw: the bytes as the registry gave them.
    """

    media_type: str
    digest: str
    raw: bytes = field(repr=False)


def media_type_of(content_type: str | None, subject: str) -> str | None:
    """Return the media type of a manifest by its ``Content-Type``, without parameters.

    None when the header says nothing and the document has to.

    Raises:
        UnsupportedManifest: it is of a kind that we do not read, named in the message.
        RegistryProtocolError: it is a page, which says nothing of the image.
    """
    if is_page({"Content-Type": content_type or ""}):
        raise RegistryProtocolError(
            f"{subject}: a web page came in place of the manifest, as in a maintenance"
        )
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in _SAYS_NOTHING:
        return None
    if media_type in SCHEMA_1_TYPES:
        raise UnsupportedManifest(
            f"{subject}: the manifest is of schema 1, which is not read any more: push "
            "the image again with a current tool"
        )
    if media_type not in INDEX_TYPES | MANIFEST_TYPES:
        raise UnsupportedManifest(
            f"{subject}: the manifest is of media type {media_type[:100]!r}, which is "
            "not an image's"
        )
    return media_type


def verified_manifest(
    raw: bytes,
    content_type: str | None,
    *,
    subject: str,
    digest: str | None,
    size: int | None,
) -> FetchedManifest:
    """Return a manifest that agrees with its size, digest, header and itself.

    Args:
        raw: the bytes as they came.
        content_type: the header's value.
        subject: of a message.
        digest: that was asked for, or else what the registry claims, if anything.
        size: that a descriptor promised, if there is one.

    Raises:
        DigestMismatch: the bytes are others; size is compared first.
        UnsupportedManifest: no manifest, or none that we read.
        RegistryProtocolError: no manifest, and nobody has promised these bytes.
    """
    if size is not None and len(raw) != size:
        raise DigestMismatch(
            f"{subject}: the manifest has {len(raw)} bytes, its descriptor promises "
            f"{size}"
        )
    actual = digest_of(raw, like=digest or "sha256:")
    if digest is not None and actual != digest:
        raise DigestMismatch(
            f"{subject}: the manifest is {actual}, and should be {digest}"
        )
    try:
        document = Struct.parse(raw, "the manifest")
        media_type = _agreed_type(document, content_type, subject)
        wanted = "manifests" if media_type in INDEX_TYPES else "layers"
        document.structs(wanted)
    except WrongJson as error:
        is_json = raw.lstrip()[:1] == b"{"
        if digest is None and not is_json and media_type_of(content_type, "") is None:
            # Not even the registry says that these are the image's own bytes.
            raise RegistryProtocolError(
                f"{subject}: what came is no manifest ({error})"
            ) from error
        raise UnsupportedManifest(f"{subject}: {error}") from error
    if not document.says(wanted):
        raise UnsupportedManifest(
            f"{subject}: the manifest is of type {media_type} and has no {wanted}"
        )
    return FetchedManifest(media_type, actual, raw)


def _agreed_type(document: Struct, content_type: str | None, subject: str) -> str:
    """Return the one type that header and document give the manifest.

    A document that is two things lets two readers see two images under one digest:
    CVE-2021-41190; image-spec ``manifest.md``, property ``mediaType``.
    """
    if document.whole("schemaVersion") == 1:
        media_type_of(next(iter(SCHEMA_1_TYPES)), subject)
    names = document.plain("manifests", "layers", "config")  # in any spelling
    if "manifests" in names and len(names) > 1:
        raise UnsupportedManifest(
            f"{subject}: the manifest is an index and an image at once"
        )
    announced = media_type_of(content_type, subject)
    stated = document.text("mediaType")
    if not stated:
        # Only OCI leaves it out.
        implied = OCI_INDEX if "manifests" in names else OCI_MANIFEST
        return announced or implied
    agreed = announced or media_type_of(stated, subject)
    if agreed is None or stated != agreed:
        raise UnsupportedManifest(
            f"{subject}: the manifest calls itself {stated[:100]!r}, the registry "
            f"calls it {agreed!r}"
        )
    return agreed
