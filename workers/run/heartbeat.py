"""A lease that is kept while its job works: the job's only way to the ledger.

The thread here tells the ledger once a second that we live and how far we are, and
learns whether the work is still wanted. The threads that do the work only look at what
it left behind, so that reporting costs them nothing and a queue server that restarts
does not stop them. Where an answer is needed to go on, it is waited for.
"""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Self, TypeVar

from workers.ledger import (
    Accepted,
    Lease,
    Ledger,
    LedgerUnavailable,
    Progress,
    RunResult,
    State,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_BEAT_SECONDS = 1.0
# Often, so that a lease outlives a server that hangs for nearly as long as it lasts.
_PROLONG_SECONDS = 2.0
# A queue server with much to read takes so long to start again.
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 1.0


class Overtaken(Exception):
    """A newer push of the same reference waits; this run is not worth finishing."""


class LeaseLost(Exception):
    """Somebody else may work on the reference now; nothing may be published."""


class Heartbeat:
    """Keeps one lease alive from the begin to the end of a ``with`` block.

    Args:
        ledger: where the lease was taken.
        lease: to keep.
        patience_seconds: how long a ledger that is away is waited for where the work
            cannot go on without it.
    """

    def __init__(
        self,
        ledger: Ledger,
        lease: Lease,
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._patience_seconds = patience_seconds
        self._progress: Progress | None = None
        self._why_stop: type[Overtaken | LeaseLost] | None = None
        self._end = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def tell(self, progress: Progress) -> None:
        """Say how far the work is; costs nothing, may be called from any thread.

        Raises:
            Overtaken, LeaseLost: as of the last beat, the work should stop.
        """
        self._progress = progress
        self.look()

    def look(self) -> None:
        """Raise as ``tell`` does; for those who wait and ask often."""
        if self._why_stop is not None:
            raise self._why_stop

    def check(self) -> None:
        """Ask the ledger now whether to go on, and prolong the lease.

        Raises:
            Overtaken, LeaseLost: the work should stop.
            LedgerUnavailable: it does not answer for longer than our patience.
        """
        self._why_stop = self._patiently(self._ask)
        if self._why_stop is not None:
            raise self._why_stop

    def stage(
        self,
        state: State,
        *,
        digest: str | None = None,
        is_public: bool | None = None,
    ) -> None:
        """Say that the work has entered a stage; raises LedgerUnavailable."""

        def say() -> None:
            self._ledger.stage(
                self._lease,
                state,
                digest=digest,
                progress=self._progress,
                is_public=is_public,
            )

        self._patiently(say)

    def finish(self, result: RunResult) -> Accepted | None:
        """End the run and give the lease back; raises LedgerUnavailable.

        Returns:
            A job to enqueue at once, because the reference is wanted again.
        """
        return self._patiently(lambda: self._ledger.finish(self._lease, result))

    def _ask(self) -> type[Overtaken | LeaseLost] | None:
        if not self._ledger.keep_alive(self._lease):
            return LeaseLost
        return Overtaken if self._ledger.is_overtaken(self._lease) else None

    def _patiently(self, call: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                return call()
            except LedgerUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                log.warning("reference=%s waits: %s", self._lease.reference, error)
            time.sleep(_PAUSE_SECONDS)

    def _beat(self) -> None:
        prolonged = time.monotonic()
        told: Progress | None = None
        while not self._end.wait(_BEAT_SECONDS) and self._why_stop is not LeaseLost:
            now = time.monotonic()
            progress = self._progress
            try:
                if now - prolonged >= _PROLONG_SECONDS:
                    self._why_stop = self._ask()
                    prolonged = now
                elif self._ledger.is_overtaken(self._lease):
                    self._why_stop = self._ask()
                if progress is not None and progress != told:
                    self._ledger.progress(self._lease, progress)
                    told = progress
            except LedgerUnavailable as error:
                # The lease outlives a few missed beats, and the work does too.
                log.debug("reference=%s works on: %s", self._lease.reference, error)
