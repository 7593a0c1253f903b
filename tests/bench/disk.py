"""What the disk itself takes, to be reported beside what we take."""

import os
import time
from pathlib import Path

_WRITES = 300
_BLOCK = 4096


def sync_seconds(folder: Path) -> list[float]:
    """Append 4 kB to a file and sync it, again and again; return the seconds of each.

    As an append-only file is written; the file system's journal is part of it.
    """
    path = folder / "sync"
    block = os.urandom(_BLOCK)
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_WRITES):
            file.write(block)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - started)
    path.unlink()
    return seconds
