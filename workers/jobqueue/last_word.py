"""The last word on a run: it is told to end, and its process is killed if it does not.

A run learns by itself that its time is over or that its work is not wanted any more,
and ends cleanly where it looks for that. It may be where nothing looks: in a call of a
library, in a slow answer of a registry or a name server, in what a stranger made so
large that it takes hours. So the worker, which waits for the process of the run and
does nothing else, knows the same, leaves it some time to end, and then kills it.

What that leaves is what a crash leaves: nothing half-done is visible, and a lock in a
folder is free. No part of a run is spared, not even a commit in which it leads others:
it has three seconds for it, and a commit that takes longer hangs.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from resource import struct_rusage

from workers.jobqueue.memory_limit import too_much
from workers.jobqueue.oom_kills import oom_kills
from workers.ledger import (
    Accepted,
    Lease,
    Ledger,
    LedgerUnavailable,
    Outcome,
    RunResult,
)

log = logging.getLogger(__name__)

# A run that was told ends within five seconds: the worker notices after one at most,
# and looks once a second whether this time is over.
_UNWILLING_SECONDS = 2.5
_PAUSE_SECONDS = 1.0

# What a library does that is refused memory and cannot say it.
_GIVING_UP = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS})

NEWER_PUSH = "a newer push was waiting"
"""Why a run ends that is not wanted any more."""


def out_of_time(seconds: float) -> str:
    """Say why a run ends that took longer than it may."""
    whole = round(seconds)
    length = f"{whole} seconds" if whole % 3600 else f"{whole // 3600} hours"
    return f"it took longer than {length}; push a smaller image"


class LastWord:
    """Watches one run from outside its process.

    Args:
        ledger: knows whether the work is wanted.
        reference: that the run is for.
        worker: the name under which its process takes leases.
        seconds: that it may take.
        memory_mib: that its process may take.
        clock: monotonic.
        count_oom_kills: how often the kernel has killed here for want of memory.
    """

    def __init__(
        self,
        ledger: Ledger,
        reference: str,
        worker: str,
        seconds: float,
        memory_mib: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        count_oom_kills: Callable[[], int | None] = oom_kills,
    ) -> None:
        self._ledger = ledger
        self._reference = reference
        self._worker = worker
        self._seconds = seconds
        self._memory_mib = memory_mib
        self._clock = clock
        self._began = clock()
        self._lease: Lease | None = None
        self._told_at: float | None = None
        self._result: RunResult | None = None
        self._peak_mib = 0
        self._oom_kills = count_oom_kills()
        self._count_oom_kills = count_oom_kills

    def speak(self) -> bool:
        """Tell whether to kill the process now; to be asked once a second.

        Raises:
            LedgerUnavailable: it does not say whether the work is wanted. The time is
                seen to all the same, by whoever asks again.
        """
        now = self._clock()
        is_late = now - self._began >= self._seconds
        if self._told_at is None and (is_late or not self._is_wanted()):
            self._told_at = now
        if self._told_at is None or now - self._told_at < _UNWILLING_SECONDS:
            return False
        if is_late:
            reason = out_of_time(self._seconds)
            self._result = RunResult(Outcome.FAILED, reason=reason, is_reason_open=True)
        else:
            self._result = RunResult(
                Outcome.SUPERSEDED, reason=NEWER_PUSH, is_reason_open=True
            )
        return True

    def has_result(self, status: int | None, usage: struct_rusage | None) -> bool:
        """Tell whether it is known how the run of the dead process ended.

        It is, if the process was killed for what was spoken here, or gave up for want
        of memory; any other death may pass by itself.

        Args:
            status: as ``wait4`` gave it.
            usage: likewise.
        """
        if usage is not None:
            self._peak_mib = usage.ru_maxrss >> 10
        if self._result is None and self._wanted_memory(status):
            reason = too_much(self._memory_mib)
            self._result = RunResult(Outcome.FAILED, reason=reason, is_reason_open=True)
        return self._result is not None

    def how_it_died(self, status: int | None) -> str:
        """Say in a few words how the process ended that was not told to."""
        kills = self._count_oom_kills()
        is_oom = kills is not None and kills > (self._oom_kills or 0)
        return how_it_died(status, is_oom=is_oom)

    def tell(self, is_given_up: Callable[[], bool] = lambda: False) -> Accepted | None:
        """Tell the ledger how the run of the dead process ended, once it answers.

        Of a run that has said it itself, nothing is told. What is final would be tried
        again if this got lost.

        Args:
            is_given_up: whether not to wait for a ledger that is away.

        Returns:
            A job to enqueue at once, because the reference is wanted again.
        """
        while True:
            try:
                return self._tell()
            except LedgerUnavailable as error:
                if is_given_up():
                    log.warning("reference=%s is left: %s", self._reference, error)
                    return None
                log.warning("reference=%s is told later: %s", self._reference, error)
            time.sleep(_PAUSE_SECONDS)

    def _tell(self) -> Accepted | None:
        lease = self._ledger.held(self._reference, worker=self._worker)
        if lease is None or self._result is None:
            return None
        again = self._ledger.finish(lease, self._result)
        log.warning(
            "reference=%s %s: %s seconds=%.1f worker=%s was ended peak_mib=%d",
            self._reference,
            self._result.outcome,
            self._result.reason,
            self._clock() - self._began,
            self._worker,
            self._peak_mib,
        )
        return again

    def _wanted_memory(self, status: int | None) -> bool:
        if status is None or not os.WIFSIGNALED(status):
            return False
        is_large = self._peak_mib > self._memory_mib // 2
        return is_large and os.WTERMSIG(status) in _GIVING_UP

    def _is_wanted(self) -> bool:
        if self._lease is None:
            self._lease = self._ledger.held(self._reference, worker=self._worker)
        if self._lease is None:
            # Until its run has begun, there is nothing to be wanted or not; it may have
            # been cancelled before that was seen here.
            return not self._ledger.is_cancelled(self._reference, worker=self._worker)
        return not self._ledger.is_overtaken(self._lease)


def how_it_died(status: int | None, *, is_oom: bool = False) -> str:
    """Say in a few words how a process ended that was not told to.

    Args:
        status: as ``wait4`` gave it; None: nobody knows.
        is_oom: whether the kernel has killed for want of memory meanwhile.
    """
    if status is None:
        return "it vanished"
    if not os.WIFSIGNALED(status):
        return f"it ended with {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL and is_oom:
        return "killed by the kernel, which was out of memory"
    return f"killed by {signal.Signals(number).name}"
