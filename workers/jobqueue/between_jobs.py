"""What a worker does between two jobs: its upkeep, and a look whether it may go on."""

import logging
import os
import signal
import time
from collections.abc import Callable

from workers.jobqueue.parent_death import dies_with_parent

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0


class BetweenJobs:
    """Asks whether a job may begin, and does a chore now and every hour.

    The chore has a process of its own: a bucket that hangs must not keep the worker
    from its jobs, and no thread may be there when it forks.

    Args:
        why_waiting: says why no job is to be begun; None if one may.
        chore: what it raises is logged. One that is still under way after an hour is
            killed, and begun again.
    """

    def __init__(
        self, why_waiting: Callable[[], str | None], chore: Callable[[], None]
    ) -> None:
        self._why_waiting = why_waiting
        self._chore = chore
        self._is_waiting = False
        self._next_chore = 0.0
        self._process: int | None = None
        self._tie_to_us = dies_with_parent(signal.SIGKILL)

    def may_begin(self) -> bool:
        """Tell whether a job may begin, and say so when that changes."""
        self._look_at_chore()
        why = self._why_waiting()
        if why is not None and not self._is_waiting:
            log.warning("no job is begun: %s", why)
        elif why is None and self._is_waiting:
            log.info("jobs are begun again")
        self._is_waiting = why is not None
        return not self._is_waiting

    def _look_at_chore(self) -> None:
        if self._process is not None and os.waitpid(self._process, os.WNOHANG)[0]:
            self._process = None
        now = time.monotonic()
        if now < self._next_chore:
            return
        self._next_chore = now + _EVERY_SECONDS
        if self._process is not None:
            log.warning("the upkeep of repositories hangs, and is begun again")
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        self._process = self._begun()

    def _begun(self) -> int:
        process = os.fork()
        if process:
            return process
        try:
            self._tie_to_us()
            # The worker's own handlers would have it end a job.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._chore()
        except Exception:
            log.exception("the upkeep of repositories")
        finally:
            os._exit(0)
