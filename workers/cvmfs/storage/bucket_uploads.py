"""Writes in the background, a bounded number of them at once.

A request to a bucket takes tens of milliseconds wherever it comes from, and an image
has tens of thousands of files. So a caller hands its object over and goes on; only
``finish``, before a manifest, waits for all.

What could not be written is kept, counts as being written, and is tried again by the
next call: nothing that was handed over is ever given up while the process lives, and no
``finish`` succeeds without it. Callers may therefore remember what they handed over.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from workers.cvmfs.errors import StorageFailed


class Uploads:
    """The window of writes under way. May be used from several threads.

    Args:
        send: writes one object; raises ``StorageFailed``.
        requests: how many at once.
        size_bytes: how much of them in memory; a larger one goes alone.
    """

    def __init__(
        self,
        send: Callable[[str, bytes], None],
        *,
        requests: int = 64,
        size_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._send = send
        self._requests = requests
        self._size_bytes = size_bytes
        self._changed = threading.Condition()
        self._sending: dict[str, bytes] = {}
        self._failed: dict[str, bytes] = {}
        self._error: StorageFailed | None = None
        self._held_bytes = 0
        self._executor = ThreadPoolExecutor(requests, thread_name_prefix="upload")

    def put(self, path: str, data: bytes) -> bool:
        """Hand an object over; waits while the window is full.

        Returns:
            Whether it is not under way already.

        Raises:
            StorageFailed: an earlier one cannot be written, and still cannot; this one
                was not taken.
        """
        with self._changed:
            while self._failed or not self._has_room(len(data)):
                if self._failed:
                    self._finish()
                else:
                    self._changed.wait()
            if path in self._sending:
                return False
            self._held_bytes += len(data)
            self._start(path, data)
            return True

    def wait_for(self, path: str) -> None:
        """Return once an object is there, if it was handed over at all."""
        with self._changed:
            self._changed.wait_for(lambda: path not in self._sending)
            if path in self._failed:
                self._finish()

    def finish(self) -> None:
        """Return once everything handed over is there.

        Raises:
            StorageFailed: something cannot be written, though tried again.
        """
        with self._changed:
            self._finish()

    def _finish(self) -> None:
        # First what is under way: a failure of it is tried again here, too.
        self._changed.wait_for(lambda: not self._sending)
        failed, self._failed = self._failed, {}
        for path, data in failed.items():
            self._start(path, data)
        self._changed.wait_for(lambda: not self._sending)
        if self._failed and self._error is not None:
            raise self._error

    def _has_room(self, size: int) -> bool:
        held = len(self._sending) + len(self._failed)
        return held == 0 or (
            held < self._requests and self._held_bytes + size <= self._size_bytes
        )

    def _start(self, path: str, data: bytes) -> None:
        self._sending[path] = data
        self._executor.submit(self._run, path, data)

    def _run(self, path: str, data: bytes) -> None:
        error: StorageFailed | None = None
        try:
            self._send(path, data)
        except StorageFailed as failure:
            error = failure
        except BaseException as failure:  # noqa: BLE001 - nobody waits for this thread
            error = StorageFailed(f"{path}: {type(failure).__name__}")
        with self._changed:
            del self._sending[path]
            if error is None:
                self._held_bytes -= len(data)
            else:
                self._failed[path] = data
                self._error = error
            self._changed.notify_all()
