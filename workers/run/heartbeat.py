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
    STOPS_ALLOWED,
    Accepted,
    Lease,
    Ledger,
    LedgerUnavailable,
    Progress,
    RunResult,
    Standing,
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
# So long a registry is waited for that is to say whether the work is still the newest.
_REGISTRY_SECONDS = 5.0


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
        self._is_current: Callable[[], bool] | None = None
        self._looking: Thread | None = None
        self._looked_for = 0
        self._has_moved = False
        self._end = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def watch(self, is_current: Callable[[], bool]) -> None:
        """Have it found out whether the work is the newest when somebody asks for it.

        Not every push says its digest, nor does who asks by hand. Then the registry has
        to say whether this is still what is wanted; the work goes on meanwhile.

        Args:
            is_current: asks the registry; called in a thread of its own, once for what
                was asked for. What it raises leaves the question to the next run.
        """
        self._is_current = is_current

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

    def check_newest(self) -> None:
        """Check as ``check`` does, and wait for the registry where it is in doubt.

        Raises:
            Overtaken, LeaseLost, LedgerUnavailable: as ``check``.
        """
        self.check()
        if (looking := self._looking) is not None:
            looking.join(_REGISTRY_SECONDS)
            self.check()

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
        return Overtaken if self._is_overtaken() else None

    def _is_overtaken(self) -> bool:
        standing = self._ledger.standing(self._lease)
        self._see_to(standing)
        return standing.is_overtaken or self._has_moved

    def _see_to(self, standing: Standing) -> None:
        """Have the registry asked, once for each request that leaves a doubt."""
        number, is_current = standing.doubted, self._is_current
        if number is None or is_current is None or number <= self._looked_for:
            return
        self._looked_for = number
        arguments = is_current, number
        self._looking = Thread(
            target=self._look_again, args=arguments, name="look-again", daemon=True
        )
        self._looking.start()

    def _look_again(self, is_current: Callable[[], bool], number: int) -> None:
        reference = self._lease.reference
        try:
            if is_current():
                self._ledger.confirm(self._lease, number)
            else:
                self._has_moved = self._lease.overtaken < STOPS_ALLOWED
        except Exception as error:  # noqa: BLE001 - the run that follows asks, too
            log.debug("reference=%s is looked at afterwards: %s", reference, error)

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
                elif self._is_overtaken():
                    self._why_stop = self._ask()
                if progress is not None and progress != told:
                    self._ledger.progress(self._lease, progress)
                    told = progress
            except LedgerUnavailable as error:
                # The lease outlives a few missed beats, and the work does too.
                log.debug("reference=%s works on: %s", self._lease.reference, error)
