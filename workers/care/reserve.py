"""A little room on each repository's disk that nobody uses, for when it is full.

To delete what is garbage takes a few new files: a shorter reflog, a manifest, a note
that something is being deleted. So a file of a few MiB lies among the repository's
temporary ones; garbage collection removes it where there is no other room, and it is
made again when there is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from workers.config import Config, RepositoryConfig
from workers.config.values import storage_folder
from workers.cvmfs.storage.storage import RESERVE
from workers.wiring import native_repositories

_MOST_BYTES = 8 << 20
_PART = 50
"""Of a small disk it is one part in so many."""
_LEAST_FREE = 4
"""It is made only where so many times as much is free."""


def keep_reserves(config: Config) -> None:
    """Make the reserves that are not there, where there is room for them."""
    for repository in native_repositories(config):
        place = _place(repository)
        if place is not None:
            _keep(place)


def is_hardly_any_room(repository: RepositoryConfig) -> bool:
    """Tell whether less is free than a reserve."""
    place = _place(repository)
    room = None if place is None else _room(place.parent)
    return room is not None and room.free < room.reserve


@contextmanager
def released_reserve(repository: RepositoryConfig) -> Iterator[None]:
    """Give up the reserve where there is hardly any room, and make it again then."""
    place = _place(repository)
    if place is None or not is_hardly_any_room(repository):
        yield
        return
    with suppress(OSError):
        place.unlink()
    try:
        yield
    finally:
        _keep(place)


def _place(repository: RepositoryConfig) -> Path | None:
    if not repository.storage.startswith("file://"):
        return None
    return storage_folder(repository.storage) / RESERVE


class _Room(NamedTuple):
    free: int
    reserve: int


def _room(folder: Path) -> _Room | None:
    """Return what is free where a folder is, and how large its reserve is."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    total = status.f_blocks * status.f_frsize
    free = status.f_bavail * status.f_frsize
    return _Room(free, min(_MOST_BYTES, total // _PART))


def _keep(place: Path) -> None:
    """Make a reserve, if it is not there and there is room for it."""
    room = _room(place.parent)
    if room is None or room.free < _LEAST_FREE * room.reserve or place.exists():
        return
    aside = place.with_name(f"put-reserve-{os.getpid():x}")
    with suppress(OSError):
        descriptor = os.open(
            aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644
        )
        try:
            os.fchmod(descriptor, 0o644)
            owner = place.parent.stat()
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.posix_fallocate(descriptor, 0, room.reserve)
            aside.rename(place)
        finally:
            os.close(descriptor)
            aside.unlink(missing_ok=True)
