"""How much room the disks have that we write to, and how much they must have.

A disk that is full stops everything on it, the queue's server among it; so work stops
before, at a floor, and goes on by itself when there is room again.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from workers.config.sections import Config
from workers.config.values import storage_folder

USUAL_FLOOR_BYTES = 1 << 30
_USUAL_PART = 20
"""Of a small disk the usual floor is one part in so many."""
_UNIT = 1024
STATE = "state"


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The room on the disk of one folder.

    Attributes:
        name: fqrn of the repository that lies there, or ``STATE``.
        folder: the folder.
        free: bytes that we may still write.
        floor: bytes below which no work is begun.
    """

    name: str
    folder: Path
    free: int
    floor: int

    @property
    def is_low(self) -> bool:
        """Whether nothing more is to be begun there."""
        return self.free < self.floor

    def warning(self) -> str | None:
        """Return one line for everybody, without the folder; None if all is well."""
        if not self.is_low:
            return None
        is_state = self.name == STATE
        where = "the state folder" if is_state else self.name
        mend = (
            "free some of its disk"
            if is_state
            else f"run `cvmfs-webhook repository gc {self.name}` or enlarge its disk"
        )
        return (
            f"disk of {where} is nearly full: {shown_size(self.free)} free,"
            f" `disk_floor` is {shown_size(self.floor)}; work waits until there is"
            f" room: {mend}"
        )


def disks(config: Config) -> list[DiskSpace]:
    """Return the room for each repository in a folder here, and for the state."""
    found = [repository_disk(config, fqrn) for fqrn in config.repositories]
    found.append(_disk(config, STATE, config.state))
    return [disk for disk in found if disk is not None]


def repository_disk(config: Config, fqrn: str) -> DiskSpace | None:
    """Return the room for one repository; None if it lies in no folder here."""
    storage = config.repositories[fqrn].storage
    if not storage.startswith("file://"):
        return None
    return _disk(config, fqrn, storage_folder(storage))


def why_work_waits(config: Config) -> str | None:
    """Return why no work is to be begun; None if some can be.

    While one of several repositories has room, only work for the others waits, which
    is found out in the run.
    """
    found = disks(config)
    state = [disk for disk in found if disk.name == STATE]
    others = [disk for disk in found if disk.name != STATE]
    if any(disk.is_low for disk in state):
        return state[0].warning()
    if not others or len(others) < len(config.repositories):
        return None
    return others[0].warning() if all(disk.is_low for disk in others) else None


def free_bytes(folder: Path) -> int | None:
    """Return what may still be written where a folder is; None if it is not there."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def shown_size(size: float) -> str:
    """Return a number of bytes as people read it: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _UNIT:
            return f"{size:.4g} {unit}"
        size /= _UNIT
    return f"{size:.4g} TiB"


def _disk(config: Config, name: str, folder: Path) -> DiskSpace | None:
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    free, total = (
        blocks * status.f_frsize for blocks in (status.f_bavail, status.f_blocks)
    )
    floor = config.disk_floor
    if floor is None:
        floor = min(USUAL_FLOOR_BYTES, total // _USUAL_PART)
    return DiskSpace(name, folder, free, floor)
