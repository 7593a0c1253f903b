"""How long a stretch of work may wait for Redis, all in all.

A server that hangs answers nothing and refuses nothing, so every question costs its
whole time limit. Whoever has to answer somebody therefore gets one allowance for all
its questions together. Only waiting is counted: what takes long by itself, such as a
large page, is not cut short by it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import redis


class Allowance:
    """What is left of the time that one stretch of work may wait; for one thread."""

    __slots__ = ("_left", "_since")

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._since: float | None = None

    @property
    def left(self) -> float:
        """Seconds that may still be waited, counting the wait that is under way."""
        if self._since is None:
            return self._left
        return self._left - (time.monotonic() - self._since)

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count the time of the block, which holds no such block.

        Raises:
            redis.TimeoutError: nothing is left.
        """
        if self._left <= 0:
            raise redis.TimeoutError("it does not answer in time")
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._left = self.left
            self._since = None


_ALLOWANCE: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


def present_allowance() -> Allowance | None:
    """Return what the work of this thread has; None: it waits as its client does."""
    return _ALLOWANCE.get()


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[Allowance]:
    """Let this thread wait for Redis for so long in the block, all in all.

    A question after that raises redis.TimeoutError at once. In a block of a block the
    shorter time counts. What is left can be seen in what is given.
    """
    outer = _ALLOWANCE.get()
    most = seconds if outer is None else min(seconds, outer.left)
    allowance = Allowance(most)
    token = _ALLOWANCE.set(allowance)
    try:
        yield allowance
    finally:
        _ALLOWANCE.reset(token)
