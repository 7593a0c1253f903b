"""Which objects a process stored itself, and whether anybody found them there since.

An object's times say so, as nobody reads them otherwise: who stores an object stamps
it, in its fraction of a second, and who finds one with the stamp of another lets its
last reading be years ahead, where no reading moves it. So an object with our stamp and
without that is in nobody else's way.

That is a courtesy, which spares others from beginning again, and no proof: two may
store the same object at once, and file systems may round times. What it takes to delete
such an object all the same is in ``garbage/unpublished.py``. Where times are rounded,
no stamp is recognised, and everything is left to garbage collection.
"""

# An image has tens of thousands of files; a Path for each would cost too much.
# ruff: noqa: PTH116

import os
import secrets
import time
from collections.abc import Iterator
from enum import Enum

_REFRESHED_AFTER_SECONDS = 3600
_SECOND_NS = 1_000_000_000
_STEP_NS = 100_000
_SIGN_NS = 77_777
"""What is left of a stamp's nanoseconds by ``_STEP_NS``, hardly ever by chance."""
_YEARS_NS = 5 * 365 * 24 * 3600 * _SECOND_NS
_FIRST_DIGIT = len("data/ab/")
_DIGEST_BYTES = 20
_RECORD_BYTES = _DIGEST_BYTES + 1
_NO_SUFFIX = b"\0"


class Found(Enum):
    """What a look for an object finds at its name."""

    THERE = "there"
    BROKEN = "of another size"
    ABSENT = "nothing"


class OwnObjects:
    """The objects that one storage made; twenty-one bytes of memory for each.

    May be told from several threads.
    """

    def __init__(self) -> None:
        steps = _SECOND_NS // _STEP_NS
        self._stamp_ns = secrets.randbelow(steps) * _STEP_NS + _SIGN_NS
        self._records = bytearray()

    def stamp(self, descriptor: int) -> None:
        """Stamp a file that is about to get its name.

        By the clock of its file system, which may be a server's, and never younger than
        it is, or garbage collection without a grace time would pass it over.
        """
        now = os.fstat(descriptor).st_mtime_ns
        moment = now - now % _SECOND_NS + self._stamp_ns
        if moment > now:
            moment -= _SECOND_NS
        os.utime(descriptor, ns=(moment, moment))

    def bears_stamp(self, file: str) -> bool:
        """Tell whether a file is there with our stamp."""
        try:
            status = os.stat(file)
            return self._is_ours(status) and not _is_found(status)
        except OSError:
            return False

    def find(self, file: str, size: int) -> Found:
        """Look for an object; one that is there becomes as young as a new one.

        That takes a second system call only where it bears the stamp of another, or is
        more than an hour old: once an hour for whatever images share.
        """
        try:
            status = os.stat(file)
            if status.st_size != size:
                return Found.BROKEN
            is_stamped = status.st_mtime_ns % _STEP_NS == _SIGN_NS
            if status.st_mtime < time.time() - _REFRESHED_AFTER_SECONDS:
                os.utime(file)
            elif is_stamped and not self._is_ours(status) and not _is_found(status):
                read = status.st_mtime_ns + 2 * _YEARS_NS
                os.utime(file, ns=(read, status.st_mtime_ns))
        except PermissionError:
            return Found.THERE  # somebody else's; a commit looks it up, if need be
        except OSError:
            return Found.ABSENT
        return Found.THERE

    def note(self, path: str) -> None:
        """Remember an object that was stored where nothing was."""
        digits, suffix = path[5:7] + path[_FIRST_DIGIT:46], path[46:].encode()
        if len(digits) == 2 * _DIGEST_BYTES and len(suffix) <= len(_NO_SUFFIX):
            # One call, so that threads do not come between.
            self._records.extend(bytes.fromhex(digits) + (suffix or _NO_SUFFIX))

    def paths(self) -> Iterator[str]:
        """Yield the objects that were noted."""
        for start in range(0, len(self._records), _RECORD_BYTES):
            record = bytes(self._records[start : start + _RECORD_BYTES])
            digits = record[:_DIGEST_BYTES].hex()
            suffix = record[_DIGEST_BYTES:].strip(_NO_SUFFIX).decode()
            yield f"data/{digits[:2]}/{digits[2:]}{suffix}"

    def forget(self) -> None:
        """Note none of them any more: they are in use."""
        self._records = bytearray()

    def _is_ours(self, status: os.stat_result) -> bool:
        return status.st_mtime_ns % _SECOND_NS == self._stamp_ns


def _is_found(status: os.stat_result) -> bool:
    return status.st_atime_ns > status.st_mtime_ns + _YEARS_NS
