"""The worker: takes references out of the queue, one process each, and sweeps.

RQ's worker with its loop replaced, because RQ's ends when Redis is away for a moment,
finds dead workers after many minutes, and runs callbacks and web hooks while it tidies
up. What stays RQ's: the queue, the records that its pages show, and the work horse, a
process forked for each job, so that memory comes back and a crash harms one run only.

No thread runs in this process, so that forking it is safe.
"""

import gc
import importlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterable
from resource import struct_rusage
from types import FrameType
from typing import Any

import redis
import rq
from rq.exceptions import DequeueTimeout
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from workers.jobqueue.admission import objection
from workers.jobqueue.carrying import (
    JOB_FUNCTION,
    JOB_SECONDS,
    QUEUE_NAME,
    SHOWN_SECONDS,
    JobQueue,
)
from workers.jobqueue.last_word import LastWord, how_it_died
from workers.jobqueue.memory_limit import limit_memory
from workers.jobqueue.parent_death import dies_with_parent
from workers.jobqueue.registration import stay_registered
from workers.jobqueue.silence import Silence
from workers.jobqueue.tidying import take_out_odd_entries, tidy
from workers.ledger import Accepted, Ledger, LedgerUnavailable
from workers.ledger.odd import say_once

log = logging.getLogger(__name__)

# How long a worker that is told to stop lets its job work on.
GRACE_SECONDS = 5.0
_WAIT_SECONDS = 1
_SWEEP_SECONDS = 10.0
_TIDY_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 5.0
_AWAY = (redis.RedisError, LedgerUnavailable)
PATIENCE = {"patience_seconds": 0.5, "timeout_seconds": 20.0}
"""Of the connection: the loop asks again anyway and then sees whether to stop."""


def worker_name(pid: int | None = None) -> str:
    """Return the name under which a process of this machine takes leases."""
    return f"{socket.gethostname()}-{os.getpid() if pid is None else pid}"


class ReadableQueue(rq.Queue):
    """RQ's queue, except that an unreadable job is dropped and ends no worker."""

    @classmethod
    def _fetch_dequeued_job(
        cls,
        connection: redis.Redis,
        queue_key: str,
        job_id: str,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Job, rq.Queue] | None:
        try:
            return super()._fetch_dequeued_job(
                connection, queue_key, job_id, *args, **kwargs
            )
        except redis.RedisError:
            raise
        except Exception as exc:  # noqa: BLE001 - foreign fields raise anything
            log.warning("job=%r dropped: unreadable (%s)", job_id, type(exc).__name__)
            return None


class ImageWorker(rq.Worker):
    """Works off references, one at a time, until it is told to stop."""

    queue_class = ReadableQueue
    # RQ's own lines for each job would say again what ours say.
    log_result_lifespan = False

    def __init__(
        self,
        connection: redis.Redis,
        *,
        ledger: Ledger,
        function: str = JOB_FUNCTION,
        grace_seconds: float = GRACE_SECONDS,
        prepare: Callable[[], None] = lambda: None,
        may_begin: Callable[[], bool] = lambda: True,
        memory_mib: int,
    ) -> None:
        """Register nothing yet, but ask Redis who we are to it.

        Args:
            connection: not decoding; must time out later than after a second.
            ledger: what is owed.
            function: the only one that a job may call.
            grace_seconds: how long a job may work on after SIGTERM.
            prepare: called before each job, for what its process shall inherit.
            may_begin: asked before each job is taken out of the queue.
            memory_mib: that the process of a job may take.
        """
        super().__init__(
            [QUEUE_NAME],
            # Unique, because RQ does not admit a second worker of the same name.
            name=f"{worker_name().replace('.', '-')}-{secrets.token_hex(3)}",
            connection=connection,
            serializer=JSONSerializer,
            job_monitoring_interval=_WAIT_SECONDS,
            worker_ttl=60,
            log_job_description=False,
        )
        self._ledger = ledger
        self._carrier = JobQueue(connection, function=function)
        self._function = function
        self._grace_seconds = grace_seconds
        self._prepare = prepare
        self._may_begin = may_begin
        self._memory_mib = memory_mib
        self._last_word: LastWord | None = None
        self._silence = Silence()
        self._stop_by: float | None = None
        self._next_sweep = 0.0
        self._next_tidy = 0.0
        self._next_beat = 0.0
        self._tie_to_us = dies_with_parent(signal.SIGKILL)

    # The loop.

    def run(self, *, burst: bool = False) -> None:
        """Work until SIGTERM or SIGINT; with ``burst`` until nothing is owed any more.

        A Redis that is away is waited for.
        """
        self._install_signal_handlers()  # type: ignore[no-untyped-call] # RQ's
        pause, is_registered = 0.5, False
        while not self._stop_requested:
            try:
                if not is_registered:
                    self.register_birth()  # type: ignore[no-untyped-call] # RQ's
                    is_registered = True
                if not self._turn(burst=burst):
                    break
                pause = 0.5
            except UnicodeDecodeError:
                log.warning("dropped a job whose id is no text")
            except _AWAY as exc:
                log.warning("asking again in %.1f s: %s", pause, exc)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                if isinstance(exc, redis.ResponseError):
                    self._mend()
            except Exception:
                log.exception("going on in %.1f s", pause)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                self._mend()
        if is_registered:
            try:
                self.register_death()  # type: ignore[no-untyped-call] # RQ's
            except _AWAY as exc:
                log.warning("not signed off: %s", exc)

    def _mend(self) -> None:
        """Take out of RQ's records what somebody else must have put in."""
        try:
            take_out_odd_entries(self.queues[0])
        except _AWAY as exc:
            log.warning("not tidied up: %s", exc)

    def _turn(self, *, burst: bool) -> bool:
        """Run at most one job; False when a burst is over."""
        self._beat()
        self._sweep()
        if not self._may_begin():
            time.sleep(_WAIT_SECONDS)
            return not burst
        try:
            result = self.queue_class.dequeue_any(
                self.queues,
                _WAIT_SECONDS,
                connection=self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
                death_penalty_class=self.death_penalty_class,
            )
        except DequeueTimeout:
            return not burst or self._ledger.next_due() is not None
        if result is not None:
            self.execute_job(*result)
        return True

    def _beat(self) -> None:
        """Show RQ's pages that we live."""
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + _SWEEP_SECONDS
            self.set_state(WorkerStatus.IDLE)
            self.heartbeat()
            stay_registered(self)

    def _sweep(self) -> None:
        """Put back into the queue what is owed and due, and nobody carries."""
        now = time.monotonic()
        due = self._ledger.next_due()
        self._silence.note_answer()
        if now < self._next_sweep and (due is None or due > 0):
            return
        if not self._silence.is_over:
            return
        self._next_sweep = now + _SWEEP_SECONDS
        if not self._ledger.claim_sweep():
            return
        self._enqueue(self._ledger.owed(self._carrier.queued_ids()))
        if now >= self._next_tidy:
            self._next_tidy = now + _TIDY_SECONDS
            tidy(self.queues[0])

    def _enqueue(self, accepted: Iterable[Accepted | None]) -> None:
        jobs = [one for one in accepted if one is not None]
        self._carrier.enqueue_accepted(jobs)
        for one in jobs:
            log.debug("reference=%s job=%s %s", one.reference, one.job_id, one.reason)

    # One job.

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        """Run a job that is ours in a process of its own; drop any other."""
        why = objection(job, self._function)
        if why is not None:
            log.warning("job=%s dropped: %s", job.id, why)
            self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
            self.connection.delete(job.key)
            return
        self._prepare()
        job.result_ttl = job.failure_ttl = SHOWN_SECONDS
        super().execute_job(job, queue)

    def main_work_horse(self, job: Job, queue: rq.Queue) -> None:
        """Run in the horse: it must not outlive us, for nobody would watch it."""
        self._tie_to_us()
        limit_memory(self._memory_mib)
        # Among a hundred thousand tuples the collector looks for cycles again and
        # again, a quarter of the time of a small change to a large image. A whole run
        # leaves some 20 kB of them, and they go with the process.
        gc.disable()
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: rq.Queue, execution: Execution) -> bool:
        """Run in the horse; a job that raises ends its lease at once."""
        is_done = super().perform_job(job, queue, execution)
        if not is_done:
            self._give_back(job, os.getpid(), "its job raised an error")
        return is_done

    def monitor_work_horse(
        self, job: Job, queue: rq.Queue, execution: Execution
    ) -> None:
        """Wait for the horse, and see that it ends when it has to."""
        self._last_word = LastWord(
            self._ledger,
            str(job.args[0]),
            worker_name(self.horse_pid),
            float(job.timeout or JOB_SECONDS),
            self._memory_mib,
        )
        try:
            super().monitor_work_horse(job, queue, execution)
        except _AWAY:
            # RQ asks its own records first; what is final must not get lost so.
            self._tell(self._last_word)
            raise

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Look after everything once a second while the horse works."""
        now = time.monotonic()
        if self._stop_by is not None and now >= self._stop_by:
            self.kill_horse()
            return
        try:
            if self._last_word is not None and self._last_word.speak():
                self.kill_horse()
                return
            self._sweep()
            if now >= self._next_beat:
                self._next_beat = now + _SWEEP_SECONDS
                super().maintain_heartbeats(job, execution)
                stay_registered(self)
        except _AWAY as exc:
            log.warning("the job works on: %s", exc)
        except Exception as exc:  # noqa: BLE001 - else nobody looks after the horse
            say_once("what the sweep looks at", repr(exc))

    def handle_work_horse_killed(
        self, job: Job, retpid: int, ret_val: int, rusage: struct_rusage
    ) -> None:
        """See that the reference of a dead horse has its answer, or another run."""
        last_word = self._last_word
        if last_word is not None and last_word.has_result(ret_val, rusage):
            self._tell(last_word)
            return
        died = how_it_died if last_word is None else last_word.how_it_died
        self._give_back(job, retpid, "" if self._stop_by else died(ret_val))

    def _tell(self, last_word: LastWord) -> None:
        self._enqueue([last_word.tell(lambda: self._stop_requested)])

    def _give_back(self, job: Job, pid: int, how: str) -> None:
        """End the lease of a process that died so, or was stopped if not ``how``."""
        reference, worker = str(job.args[0]), worker_name(pid)
        try:
            if how:
                log.error("reference=%s worker=%s died: %s", reference, worker, how)
                again = self._ledger.abandon(reference, worker=worker, how=how)
            else:
                again = self._ledger.release(reference, worker=worker)
            self._enqueue([again])
        except _AWAY as exc:
            log.warning("reference=%s is left to the sweep: %s", reference, exc)

    # Stopping.

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop taking jobs; end the one that runs, soon, or now if asked twice."""
        del signum, frame
        now = time.monotonic()
        grace_seconds = 0.0 if self._stop_requested else self._grace_seconds
        self._stop_requested = True
        self._stop_by = now + grace_seconds

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the horse with all that it started."""
        if not self.horse_pid:
            return
        try:
            if os.getpgid(self.horse_pid) == os.getpgrp():
                # Just forked: it has no group of its own yet, so the group is ours.
                os.kill(self.horse_pid, sig)
            else:
                os.killpg(self.horse_pid, sig)
        except ProcessLookupError:
            log.debug("the horse was dead already")


def run_worker(  # noqa: PLR0913 - as ``ImageWorker``
    connection: redis.Redis,
    ledger: Ledger,
    *,
    burst: bool = False,
    function: str = JOB_FUNCTION,
    grace_seconds: float = GRACE_SECONDS,
    prepare: Callable[[], None] = lambda: None,
    may_begin: Callable[[], bool] = lambda: True,
    memory_mib: int,
) -> None:
    """Work until told to stop; with ``burst`` until nothing is owed any more.

    Args:
        connection: to the queue; see ``PATIENCE``.
        ledger: on the same connection.
        burst: end when nothing is owed.
        function: dotted name of what is called with each reference.
        grace_seconds: how long a job may work on after SIGTERM.
        prepare: called at the start and before each job, in this process, for what the
            job's own process shall inherit.
        may_begin: asked before each job is taken out of the queue; a no ends a burst.
        memory_mib: that the process of a job may take.
    """
    logging.getLogger("rq").setLevel(logging.WARNING)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    # Imported once, here, so that each horse starts with all of it in memory.
    importlib.import_module(function.rpartition(".")[0])
    prepare()
    gc.collect()
    gc.freeze()
    pause = 0.5
    while True:
        try:
            worker = ImageWorker(
                connection,
                ledger=ledger,
                function=function,
                grace_seconds=grace_seconds,
                prepare=prepare,
                may_begin=may_begin,
                memory_mib=memory_mib,
            )
        except _AWAY as exc:
            log.warning("asking again in %.1f s: %s", pause, exc)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            worker.run(burst=burst)
            return
