"""A look at something slow, in the background of those who must answer at once."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_EVERY_SECONDS = 300.0


class BackgroundLook(Generic[T]):
    """Remembers what was seen last, and looks again when that is old.

    May be asked from several threads.

    Args:
        look: returns what is to be seen; may take its time.
        nothing: what is seen before the first look has ended.
        name: of the thread.
        every_seconds: after which what was seen is old.
    """

    def __init__(
        self,
        look: Callable[[], T],
        nothing: T,
        name: str,
        *,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._look = look
        self._seen = nothing
        self._name = name
        self._every_seconds = every_seconds
        self._looked_at = float("-inf")
        self._looking = threading.Lock()

    def seen(self) -> T:
        """Return what was seen last."""
        is_old = time.monotonic() - self._looked_at > self._every_seconds
        if is_old and self._looking.acquire(blocking=False):
            thread = threading.Thread(
                target=self._look_and_release, name=self._name, daemon=True
            )
            thread.start()
        return self._seen

    def look(self) -> None:
        """Look now."""
        self._seen = self._look()
        self._looked_at = time.monotonic()

    def _look_and_release(self) -> None:
        try:
            self.look()
        finally:
            self._looking.release()
