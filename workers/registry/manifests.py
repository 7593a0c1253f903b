"""Manifests as bytes: their media types and what must agree before they are believed.

Pure: nothing here reads from a network. What is inside a manifest is the business of
whoever asked for it.

Read first: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
(section "Pulling manifests"), and image-spec ``manifest.md`` and ``image-index.md``.
"""

from dataclasses import dataclass, field

from workers.errors import PermanentError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})


class UnsupportedManifest(PermanentError):
    """A manifest of a kind that we do not read, or one at odds with itself."""


@dataclass(frozen=True, slots=True)
class Descriptor:
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
