"""What lies beside the name of a published image: manifest, config and receipt.

Everybody who reads what a repository says of an image reads it here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from workers.cvmfs import Dirent
from workers.formats.multiarch import platform_path
from workers.formats.paths import METADATA, metadata_path
from workers.formats.receipt import NO_RECEIPT, Receipt
from workers.images.manifest import ImageManifest, parse_manifest
from workers.images.platforms import Platform
from workers.images.rejected import ImageRejected
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import FileAt
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference

MANIFEST, CONFIG = b"manifest.json", b"config.json"
RECEIPT = b"cvmfs-webhook.json"
# Manifests are at most 4 MiB at registries, configs 8 MiB with us.
LARGEST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """The documents of one platform of an image, as the registry had them.

    Attributes:
        manifest: its own bytes.
        config: its own bytes.
    """

    manifest: bytes
    config: bytes

    @classmethod
    def of(cls, image: ResolvedImage) -> Self:
        """Return those of an image that is to be published."""
        return cls(image.raw_manifest, image.raw_config)

    def files(self, folder: bytes) -> Iterator[FileAt]:
        """Yield the files by which they lie in a folder."""
        yield FileAt(folder + b"/" + MANIFEST, self.manifest)
        yield FileAt(folder + b"/" + CONFIG, self.config)


def platform_folders(reference: Reference, receipt: Receipt) -> dict[Platform, bytes]:
    """Return the platforms of a name, each with the folder of its documents.

    Of several, each has one of its own, beside the one of the name itself.
    """
    if not receipt.is_multiarch:
        return dict.fromkeys(receipt.platforms, metadata_path(reference))
    return {
        platform: METADATA + platform_path(reference, platform)
        for platform in receipt.platforms
    }


def read_entry(tree: PublishedTree, entry: Dirent | None) -> bytes | None:
    """Return the content of an entry, or None if it is no small file."""
    if entry is None or entry.content is None or entry.content.size > LARGEST_BYTES:
        return None
    return tree.read(entry)


def read_document(tree: PublishedTree, path: bytes) -> bytes | None:
    """Return the content of a small file, or None if there is none at the path."""
    return read_entry(tree, tree.lookup(path))


def read_documents(tree: PublishedTree, folder: bytes) -> ImageDocuments | None:
    """Return the documents that lie in a folder, or None if they are not both there."""
    manifest = read_document(tree, folder + b"/" + MANIFEST)
    config = read_document(tree, folder + b"/" + CONFIG)
    if manifest is None or config is None:
        return None
    return ImageDocuments(manifest, config)


def read_manifest(tree: PublishedTree, folder: bytes) -> ImageManifest | None:
    """Return what the manifest in a folder says, or None if none can be read."""
    return manifest_at(tree, tree.lookup(folder + b"/" + MANIFEST))


def manifest_at(tree: PublishedTree, entry: Dirent | None) -> ImageManifest | None:
    """Return what the manifest of an entry says, or None if none can be read."""
    raw = read_entry(tree, entry)
    try:
        return None if raw is None else parse_manifest(raw)
    except ImageRejected:
        return None


def read_receipt(tree: PublishedTree, reference: Reference) -> Receipt:
    """Return the receipt of what is live under a name; an empty one for none."""
    raw = read_document(tree, metadata_path(reference) + b"/" + RECEIPT)
    return (None if raw is None else Receipt.parse(raw)) or NO_RECEIPT
