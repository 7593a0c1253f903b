"""OCI distribution client: names in, verified bytes out.

Knows references and registries; knows nothing of images, queues or CVMFS. ``client`` is
the door. Behind it: ``transport`` sends one request to a checked address, and its
``answers`` turns every refusal into our errors; ``auth`` answers a registry's
challenge; ``blob`` streams, resumes and verifies; ``manifests`` says which documents
are believed. ``listing`` yields the tags and repositories of a registry; ``writing``
pushes small images, and deletes tags and manifests.
"""

from workers.registry.auth.access import Credentials, RegistryAccess
from workers.registry.auth.challenge import MalformedChallenge
from workers.registry.auth.tokens import UntrustedRealm
from workers.registry.blob import BlobStream, Patience
from workers.registry.client import RegistryClient
from workers.registry.digests import DigestMismatch
from workers.registry.manifests import (
    FetchedManifest,
    ManifestDescriptor,
    UnsupportedManifest,
)
from workers.registry.transport.addresses import RefusedAddress
from workers.registry.transport.answers import (
    AccessDenied,
    ImageNotFound,
    RegistryProtocolError,
    RegistryUnavailable,
    Throttled,
)
from workers.registry.transport.connections import UntrustedCertificate
from workers.registry.transport.proxies import Proxies
from workers.registry.transport.transport import Timeouts
from workers.registry.writing.delete import DeletionRefused

__all__ = [
    "AccessDenied",
    "BlobStream",
    "Credentials",
    "DeletionRefused",
    "DigestMismatch",
    "FetchedManifest",
    "ImageNotFound",
    "MalformedChallenge",
    "ManifestDescriptor",
    "Patience",
    "Proxies",
    "RefusedAddress",
    "RegistryAccess",
    "RegistryClient",
    "RegistryProtocolError",
    "RegistryUnavailable",
    "Throttled",
    "Timeouts",
    "UnsupportedManifest",
    "UntrustedCertificate",
    "UntrustedRealm",
]
