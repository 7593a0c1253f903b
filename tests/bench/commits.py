"""Commits: the same time however many images there are, and cheap together."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench.disk import sync_seconds
from tests.bench.report import Figure, Settings, median
from tests.support.repositories.memory_sink import MemorySink
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    directory,
    file,
    keys,
)
from workers.cvmfs import (
    Change,
    Content,
    ContentHash,
    LocalStorage,
    Repository,
    Snapshot,
    StreamedTree,
    Tree,
)
from workers.formats.catalogs import is_catalog
from workers.formats.format import Building, Placement
from workers.formats.formats import DEFAULT_FORMATS
from workers.formats.paths import flat_path, layer_path
from workers.formats.receipt import CONVERTER, NO_RECEIPT, Receipt
from workers.images.manifest import Descriptor, ImageConfig, ImageManifest
from workers.images.platforms import Platform
from workers.images.resolved import ResolvedImage
from workers.publishing.native import NativePublisher
from workers.publishing.plan import Plan, TreeAt
from workers.reference import Reference
from workers.run.assemble import live_steps

_PLATFORM = Platform("linux", "amd64")
# Flat images and layers ask nothing of what is published.
_UNREAD = Snapshot(LocalStorage(Path("/nonexistent")), ContentHash(bytes(20)))
_NAMESPACES = 100
_AT_ONCE = 500
_REPEATS = 15
_GROUP = 100
_COMMIT_REACH, _GROUP_REACH = 1.2, 3.0


class Library:
    """A repository that fills with images.

    Args:
        repository: to be filled.
        plan: of an image, by its number, with the content of all its files.
        images: how many there are.
    """

    def __init__(
        self,
        repository: Repository,
        plan: Callable[[int, Content], Plan],
        images: int = 0,
    ) -> None:
        self.repository = repository
        self.images = images
        self._plan = plan
        self._publisher = NativePublisher(FQRN, lambda: repository)
        self._content = repository.sink.put_bytes(b"#!/bin/sh\n")
        self._now = NOW + images

    def fill(self, images: int) -> None:
        """Commit until there are so many."""
        while self.images < images:
            count = min(_AT_ONCE, images - self.images)
            self.commit([change for _ in range(count) for change in self.ready()])

    def ready(self) -> list[Change]:
        """Return the changes of one more image, all that needs no lock done."""
        plan = self._plan(self.images, self._content)
        self.images += 1
        return list(self._publisher.prepare(plan).changes)

    def commit(self, changes: Sequence[Change]) -> float:
        """Commit; return the seconds it took."""
        self._now += 1
        started = time.perf_counter()
        self.repository.commit(changes, now=self._now)
        return time.perf_counter() - started

    def one_by_one(self) -> list[float]:
        """Commit some images singly; return the seconds of each."""
        return [self.commit(self.ready()) for _ in range(_REPEATS)]


def new_repository(folder: Path) -> Repository:
    """Return an empty repository with catalogs where ours have them."""
    return Repository.create(
        FQRN, LocalStorage(folder), keys(), now=NOW, is_mountpoint=is_catalog
    )


def reference_of(number: int) -> Reference:
    """Return the name of an image."""
    namespace, image = number % _NAMESPACES, number // _NAMESPACES
    return Reference.parse(f"registry.example/group{namespace}/image{image}:v1")


def flat_image(number: int, content: Content) -> Plan:
    """Return the plan of an image whose trees have a few files each."""
    digest = "sha256:" + hashlib.sha256(b"%d" % number).hexdigest()
    program = file(content, 0o755, mtime=number)
    tree = Tree(
        directory(mtime=number),
        {b"": {b"bin": directory()}, b"bin": {b"run": program}},
    )
    described = b'{"schemaVersion": 2, "number": %d}' % number
    blob = Descriptor("", digest, len(described))
    image = ResolvedImage(
        reference_of(number),
        digest,
        _PLATFORM,
        digest,
        described,
        ImageManifest(blob, (blob,)),
        described,
        ImageConfig(_PLATFORM, (digest,)),
    )
    receipt = Receipt(digest, CONVERTER, (_PLATFORM,), DEFAULT_FORMATS)
    placement = Placement(image.reference, [image], receipt)
    building = Building(MemorySink(), _UNREAD, Path())
    live = live_steps(placement, building, _UNREAD, NO_RECEIPT)
    trees = [
        TreeAt(layer_path(digest), tree, _unverified),
        TreeAt(flat_path(digest), tree, _unverified),
    ]
    return Plan(str(image.reference), (*trees, *live))


def _unverified(_: StreamedTree) -> None:
    """Commits alone are measured here."""


def measure(settings: Settings) -> Iterator[Figure]:
    """Commit single images at growing numbers of them, and a hundred at once."""
    library = Library(new_repository(settings.folder / "repository"), flat_image)
    sizes = (10, 100, 1000) if settings.is_quick else (10, 1000, 10_000)
    first: float | None = None
    for size in sizes:
        library.fill(size)
        seconds = library.one_by_one()
        middle = median(seconds)
        if first is None:
            first = middle
        ratio = middle / first
        yield Figure(
            f"commit of an image at {size} images",
            1000 * middle,
            "ms",
            ratio,
            f"at {sizes[0]} images",
            f"<= {_COMMIT_REACH}" if size == sizes[-1] else "",
            ratio <= _COMMIT_REACH if size == sizes[-1] else None,
            tuple(seconds),
        )
    groups = [
        library.commit([change for _ in range(_GROUP) for change in library.ready()])
        for _ in range(3)
    ]
    ratio = median(groups) / middle
    yield Figure(
        f"commit of {_GROUP} images at once",
        1000 * median(groups),
        "ms",
        ratio,
        "of one",
        f"< {_GROUP_REACH:.0f}",
        ratio < _GROUP_REACH,
        tuple(groups),
    )
    syncs = sync_seconds(settings.folder)
    yield Figure(
        "the disk's own fsync of 4 kB",
        1000 * median(syncs),
        "ms",
        median(syncs) / middle,
        "of a commit",
    )
