"""Commits of images in podman's store, which has all of them in two lists."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.commits import Library, new_repository, reference_of
from tests.bench.report import Figure, Settings, median
from tests.support.repositories.repository_builders import FQRN, keys
from tests.support.repositories.s3_server import (
    Request,
    S3Server,
    StoredObject,
    s3_server,
)
from workers.cvmfs import Content, Repository, S3Storage
from workers.formats.catalogs import is_catalog
from workers.formats.podman import StoredImage, StoredLayer, put_in_store
from workers.publishing.plan import Plan

_OWN_LAYERS = 3
_SHARING = 20
"""Images that have the same lowest layer."""
_REPEATS = 9
_ROUND_TRIP_SECONDS = 0.02
_PREFIX = "bench"


def podman_image(number: int, _: Content) -> Plan:
    """Return what an image of four layers adds to podman's store."""
    layers = [("shared", number // _SHARING)]
    layers += [(f"own {layer}", number) for layer in range(_OWN_LAYERS)]
    config = json.dumps({"created": "2024-02-03T04:05:06Z", "number": number}).encode()
    stored = StoredImage(
        _digest("manifest", number),
        b'{"schemaVersion": 2, "number": %d}' % number,
        _digest("config", number),
        config,
        [
            StoredLayer(_digest(*layer), 1_000_000, _digest("tar", *layer), 3_000_000)
            for layer in layers
        ],
    )
    reference = reference_of(number)
    steps = put_in_store(reference, stored.digest, [stored])
    return Plan(str(reference), tuple(steps))


def _digest(*what: object) -> str:
    return "sha256:" + hashlib.sha256(repr(what).encode()).hexdigest()


def measure(settings: Settings) -> Iterator[Figure]:
    """Commit single images at few and at many, to a folder and to a bucket."""
    folder = settings.folder / "repository"
    local = Library(new_repository(folder), podman_image)
    sizes = (10, 1000) if settings.is_quick else (10, 10_000)
    first: dict[str, float] = {}
    for size in sizes:
        local.fill(size)
        with s3_server() as server:
            bucket = _copied(local, folder, server)
            server.refuse = _answer_late
            for where, library in (("a folder", local), ("a bucket", bucket)):
                seconds = [_commit(library) for _ in range(_REPEATS)]
                middle = median(seconds)
                yield Figure(
                    f"commit of an image for podman to {where} at {size} images",
                    1000 * middle,
                    "ms",
                    middle / first.setdefault(where, middle),
                    f"at {sizes[0]} images",
                    samples=tuple(seconds),
                    details={"round_trip_seconds": _ROUND_TRIP_SECONDS},
                )


def _commit(library: Library) -> float:
    changes = library.ready()
    # The time of the lock is measured; its files a job has sent long before.
    library.repository.storage.sync()
    return library.commit(changes)


def _copied(library: Library, folder: Path, server: S3Server) -> Library:
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{_PREFIX}/{path.relative_to(folder)}"
            server.objects[key] = StoredObject(path.read_bytes(), {})
    storage = S3Storage(server.access(_PREFIX))
    repository = Repository(FQRN, storage, keys(), is_mountpoint=is_catalog)
    return Library(repository, podman_image, library.images)


def _answer_late(_: Request) -> None:
    time.sleep(_ROUND_TRIP_SECONDS)
