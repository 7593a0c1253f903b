"""OCI distribution client: names in, verified bytes out.

Knows references and registries; knows nothing of images, queues or CVMFS. ``client`` is
the door. Behind it: ``transport`` sends one request to a checked address, ``tokens``
answers a registry's challenge, ``blob`` streams, resumes and verifies, ``manifests``
says which documents are believed, ``answers`` turns every refusal into our errors.
"""

from workers.registry.access import Credentials, RegistryAccess
from workers.registry.blob import BlobStream
from workers.registry.client import RegistryClient, Timeouts
from workers.registry.manifests import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    FetchedManifest,
    UnsupportedManifest,
)

__all__ = [
    "DOCKER_MANIFEST",
    "DOCKER_MANIFEST_LIST",
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "BlobStream",
    "Credentials",
    "Descriptor",
    "FetchedManifest",
    "RegistryAccess",
    "RegistryClient",
    "Timeouts",
    "UnsupportedManifest",
]
