"""What was live under a name before: remembered, to be brought back.

``/.metadata/.former/<name>/<digest hex>/`` has the receipt of a publication, and for
each platform the manifest and the config; the trees that they speak of lie where all
trees lie. It costs a few small files for each digest that a name ever had.
"""

import time
from collections.abc import Iterator, Sequence
from hashlib import sha256

from workers.formats.documents import (
    RECEIPT,
    ImageDocuments,
    platform_folders,
    read_documents,
)
from workers.formats.multiarch import architecture_name
from workers.formats.paths import FORMER, image_path
from workers.formats.receipt import Receipt
from workers.images.manifest import parse_config, parse_manifest
from workers.images.platforms import Platform
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import FileAt
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference


def former_path(reference: Reference, digest: str) -> bytes:
    """Return the folder of one digest that was live under a reference."""
    encoded = digest.partition(":")[2].encode()
    return b"%s%s/%s" % (FORMER, image_path(reference), encoded)


def is_former_path(path: bytes) -> bool:
    """Tell whether a folder remembers one digest: it lies under a name with its tag."""
    if not path.startswith(FORMER + b"/"):
        return False
    name = path.rpartition(b"/")[0].rpartition(b"/")[2]
    # A registry's port has a colon, too, and no name above it.
    return b":" in name and path.count(b"/") > FORMER.count(b"/") + 2


def remember(
    tree: PublishedTree, reference: Reference, live: Receipt
) -> Iterator[FileAt]:
    """Yield the files by which what is live now can be restored later.

    Args:
        tree: what is published.
        reference: of the name.
        live: its receipt.
    """
    if live.digest is None:
        return
    former = former_path(reference, live.digest)
    is_found = False
    for platform, folder in platform_folders(reference, live).items():
        documents = read_documents(tree, folder)
        if documents is not None:
            is_found = True
            yield from documents.files(former + b"/" + architecture_name(platform))
    if is_found:
        settled = live.remembered(int(time.time()))
        yield FileAt(former + b"/" + RECEIPT, settled.document())


def remembered(
    tree: PublishedTree,
    reference: Reference,
    digest: str,
    platforms: Sequence[Platform],
) -> list[ResolvedImage]:
    """Return what the repository remembers of a digest, for some platforms."""
    images = []
    for platform in platforms:
        folder = former_path(reference, digest) + b"/" + architecture_name(platform)
        documents = read_documents(tree, folder)
        if documents is not None:
            images.append(_image(reference, digest, platform, documents))
    return images


def _image(
    reference: Reference, digest: str, platform: Platform, documents: ImageDocuments
) -> ResolvedImage:
    manifest = parse_manifest(documents.manifest)
    return ResolvedImage(
        reference,
        digest,
        platform,
        f"sha256:{sha256(documents.manifest).hexdigest()}",
        documents.manifest,
        manifest,
        documents.config,
        parse_config(documents.config, len(manifest.layers)),
    )
