"""Which images a repository holds, by what it says itself.

For each image there is a folder in ``/.metadata`` with a receipt, which names the
digest that the registry had. It is live if its link leads somewhere, too, unless it is
published without one.
"""

import json
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from workers.cvmfs import Dirent, FormatError, NotFound, Snapshot
from workers.errors import WorkerError
from workers.formats.flat import RECEIPT
from workers.formats.history import MANIFEST
from workers.formats.paths import METADATA, reference_at
from workers.formats.receipt import HELD, thin_of
from workers.formats.shown_paths import places
from workers.images.manifest import parse_manifest
from workers.ledger import Published
from workers.reference import Reference, parse_digest

_READ_AT_ONCE = 32
_LARGEST_DOCUMENT = 16 << 20


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
        read = executor.map(lambda folder: _read(snapshot, folder), found)
        for folder, said in zip(found, read, strict=True):
            reference = reference_at(folder.link)
            if reference is None or said is None or not _leads(snapshot, folder, said):
                unreadable.append(folder.link.decode(errors="backslashreplace"))
            else:
                images[str(reference)] = Published(
                    said.digest,
                    places(
                        reference,
                        said.formats,
                        config_digest=said.config_digest,
                        thin=said.thin,
                    ),
                    float(folder.receipt.mtime),
                    said.held,
                )
    return PublishedImages(images, tuple(unreadable))


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where something is said of an image; ``link`` is its name in the repository."""

    link: bytes
    receipt: Dirent
    manifest: Dirent | None


@dataclass(frozen=True, slots=True)
class _Said:
    digest: str
    held: str | None
    formats: tuple[str, ...]
    config_digest: str | None
    thin: Reference | None


def _folders(snapshot: Snapshot, above: bytes, *, depth: int) -> Iterator[_Folder]:
    if not depth and snapshot.lookup(above) is None:
        return
    for name, entry in snapshot.listdir(above).items():
        path = above + b"/" + name
        if not stat.S_ISDIR(entry.mode) or name.startswith(b"."):
            continue
        if depth and b":" in name:
            receipt = snapshot.lookup(path + b"/" + RECEIPT)
            if receipt is not None:
                manifest = snapshot.lookup(path + b"/" + MANIFEST)
                yield _Folder(path.removeprefix(METADATA), receipt, manifest)
        else:
            yield from _folders(snapshot, path, depth=depth + 1)


def _read(snapshot: Snapshot, folder: _Folder) -> _Said | None:
    """Return what is said of an image; None if it is not to be understood."""
    try:
        said = json.loads(_document(snapshot, folder.receipt))
        formats = tuple(map(str, said.get("formats", ("flat",))))
        config_digest = None
        if "image" in formats and folder.manifest is not None:
            manifest = parse_manifest(_document(snapshot, folder.manifest))
            config_digest = manifest.config.digest
        held = said.get(HELD)
        return _Said(
            parse_digest(said["digest"]),
            held and parse_digest(held),
            formats,
            config_digest,
            thin_of(said),
        )
    except (FormatError, WorkerError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _document(snapshot: Snapshot, entry: Dirent) -> bytes:
    if entry.content is None or entry.content.size > _LARGEST_DOCUMENT:
        raise ValueError
    return snapshot.read(entry)


def _leads(snapshot: Snapshot, folder: _Folder, said: _Said) -> bool:
    """Tell whether the link of an image leads somewhere, if it has to have one."""
    if "flat" not in said.formats:
        return True
    entry = snapshot.lookup(folder.link)
    if entry is None or not stat.S_ISLNK(entry.mode):
        return False
    if b"$(" not in entry.target:  # which only a client can follow
        try:
            snapshot.resolve(folder.link)
        except NotFound:
            return False
    return True
