"""Which images a repository holds, by what it says itself.

For each image there is a folder in ``/.metadata`` with a receipt, which names the
digest that the registry had. It is live if its link leads somewhere, too, unless it is
published without one.
"""

import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from workers.cvmfs import Dirent, FormatError, NotFound, StorageFailed
from workers.errors import TransientError, WorkerError
from workers.formats.documents import MANIFEST, RECEIPT, manifest_at, read_entry
from workers.formats.paths import METADATA, reference_at
from workers.formats.receipt import Receipt
from workers.ledger import Published
from workers.published.live import what_is_live
from workers.publishing.publisher import PublishedTree

_READ_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class PublishedImages:
    """What a revision holds.

    Attributes:
        images: by reference.
        unreadable: paths of what looks like one, and is not understood or leads
            nowhere.
    """

    images: Mapping[str, Published] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


def published_images(tree: PublishedTree) -> PublishedImages:
    """Read the receipts of a revision.

    Raises:
        FormatError: the repository cannot be read.
    """
    images: dict[str, Published] = {}
    unreadable: list[str] = []
    found = list(_folders(tree, METADATA, depth=0))
    with ThreadPoolExecutor(_READ_AT_ONCE, "receipts") as executor:
        # A bucket takes its time for each; what is looked up is looked up here.
        read = executor.map(lambda folder: _read(tree, folder), found)
        for folder, image in zip(found, read, strict=True):
            reference = reference_at(folder.link)
            if reference is None or image is None or not _leads(tree, folder, image):
                unreadable.append(folder.link.decode(errors="backslashreplace"))
            else:
                images[str(reference)] = image
    return PublishedImages(images, tuple(unreadable))


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where something is said of an image; ``link`` is its name in the repository."""

    link: bytes
    receipt: Dirent
    manifest: Dirent | None


def _folders(tree: PublishedTree, above: bytes, *, depth: int) -> Iterator[_Folder]:
    if not depth and tree.lookup(above) is None:
        return
    for name, entry in tree.listdir(above).items():
        path = above + b"/" + name
        if not stat.S_ISDIR(entry.mode) or name.startswith(b"."):
            continue
        if depth and b":" in name:
            receipt = tree.lookup(path + b"/" + RECEIPT)
            if receipt is not None:
                manifest = tree.lookup(path + b"/" + MANIFEST)
                yield _Folder(path.removeprefix(METADATA), receipt, manifest)
        else:
            yield from _folders(tree, path, depth=depth + 1)


def _read(tree: PublishedTree, folder: _Folder) -> Published | None:
    """Return what is said of an image; None if it is not to be understood."""
    try:
        receipt = Receipt.parse(read_entry(tree, folder.receipt) or b"")
        reference = reference_at(folder.link)
        if receipt is None or receipt.digest is None or reference is None:
            return None
        manifest = manifest_at(tree, folder.manifest)
        return Published(
            receipt.digest,
            what_is_live(reference, receipt, manifest),
            float(folder.receipt.mtime),
            receipt.restored_instead_of,
        )
    except (StorageFailed, TransientError):
        # It says nothing of the image: whoever rebuilds must not take it for gone.
        raise
    except (FormatError, WorkerError, ValueError):
        return None


def _leads(tree: PublishedTree, folder: _Folder, image: Published) -> bool:
    """Tell whether the link of an image leads somewhere, if it has to have one."""
    if folder.link.decode() not in image.live.places.values():
        return True
    entry = tree.lookup(folder.link)
    if entry is None or not stat.S_ISLNK(entry.mode):
        return False
    if b"$(" not in entry.target:  # which only a client can follow
        try:
            tree.resolve(folder.link)
        except NotFound:
            return False
    return True
