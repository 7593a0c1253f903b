"""Which images a repository holds, by what it says itself.

For each image there is a folder in ``/.metadata`` with a receipt, which names the
digest that the registry had. It is live if its link leads somewhere, too.
"""

import json
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from workers.cvmfs import Damaged, Dirent, NotFound, Snapshot
from workers.layout.flat import RECEIPT
from workers.layout.names import METADATA, reference_at
from workers.ledger import Published
from workers.receipts import HELD
from workers.reference import InvalidReference, parse_digest

_READ_AT_ONCE = 32
_LARGEST_RECEIPT = 1 << 20


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


def published_images(snapshot: Snapshot) -> PublishedImages:
    """Read the receipts of a revision.

    Raises:
        FormatError: the repository cannot be read.
    """
    images: dict[str, Published] = {}
    unreadable: list[str] = []
    found = list(_folders(snapshot, METADATA, depth=0))
    with ThreadPoolExecutor(_READ_AT_ONCE, "receipts") as executor:
        # A bucket takes its time for each; what is looked up is looked up here.
        read = executor.map(lambda pair: _read(snapshot, pair[1]), found)
        for (folder, _), said in zip(found, read, strict=True):
            path = folder.removeprefix(METADATA)
            reference = reference_at(path)
            shown = path.decode(errors="backslashreplace")
            moment = _published(snapshot, path, folder)
            if reference is None or said is None or moment is None:
                unreadable.append(shown)
            else:
                digest, held = said
                images[str(reference)] = Published(digest, shown, moment, held)
    return PublishedImages(images, tuple(unreadable))


def _folders(
    snapshot: Snapshot, above: bytes, *, depth: int
) -> Iterator[tuple[bytes, Dirent]]:
    """Yield the folders of images, each with its receipt."""
    if not depth and snapshot.lookup(above) is None:
        return
    for name, entry in snapshot.listdir(above).items():
        path = above + b"/" + name
        if not stat.S_ISDIR(entry.mode) or name.startswith(b"."):
            continue
        if depth and b":" in name:
            receipt = snapshot.lookup(path + b"/" + RECEIPT)
            if receipt is not None:
                yield path, receipt
        else:
            yield from _folders(snapshot, path, depth=depth + 1)


def _read(snapshot: Snapshot, receipt: Dirent) -> tuple[str, str | None] | None:
    """Return the digest that a receipt names, and in whose place it was restored."""
    if receipt.content is None or receipt.content.size > _LARGEST_RECEIPT:
        return None
    try:
        said = json.loads(snapshot.read(receipt))
        held = said.get(HELD)
        return parse_digest(said["digest"]), held and parse_digest(held)
    except (Damaged, NotFound, ValueError, KeyError, TypeError, InvalidReference):
        return None


def _published(snapshot: Snapshot, link: bytes, folder: bytes) -> float | None:
    """Return when an image was published; ``None`` if its link leads nowhere."""
    entry = snapshot.lookup(link)
    receipt = snapshot.lookup(folder + b"/" + RECEIPT)
    if entry is None or receipt is None or not stat.S_ISLNK(entry.mode):
        return None
    if b"$(" not in entry.target:  # which only a client can follow
        try:
            snapshot.resolve(link)
        except NotFound:
            return None
    return float(receipt.mtime)
