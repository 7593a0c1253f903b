"""Whether anybody has opened a file for writing, told by the kernel (``inotify``)."""

import ctypes
import os
from pathlib import Path
from typing import Self

_IN_CLOSE_WRITE = 0x00000008
"""Closed by one who could write; ``touch`` and ``open(…, O_RDWR)`` both end so."""
_EVENTS_BYTES = 4096


class FileWatch:
    """Watches one file, by whatever name it goes later.

    Args:
        path: where it is now.

    Raises:
        OSError: it cannot be watched.
    """

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _last_error(path)
        name = ctypes.c_char_p(os.fsencode(path))
        if libc.inotify_add_watch(self._descriptor, name, _IN_CLOSE_WRITE) < 0:
            error = _last_error(path)
            os.close(self._descriptor)
            raise error
        self._was_written = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def was_written(self) -> bool:
        """Tell whether anybody has, since the watch began."""
        if not self._was_written:
            try:
                self._was_written = bool(os.read(self._descriptor, _EVENTS_BYTES))
            except BlockingIOError:
                return False
        return self._was_written


def _last_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
