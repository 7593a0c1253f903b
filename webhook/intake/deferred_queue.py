"""Enqueuing after the answer: a notification waits for the ledger and not for RQ.

The ledger has on disk that a reference wants a job before anybody is answered, and RQ
takes longer to put it into the queue than the ledger to remember it. So a thread does
that: at once for a single job, and for many together when many come. If this process
dies before it has, the workers' sweep finds within two seconds or so that nobody
carries the job.
"""

import logging
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from threading import Thread

from workers.errors import WorkerError
from workers.jobqueue import JobQueue
from workers.ledger import Accepted

log = logging.getLogger(__name__)

# One transaction of so many jobs holds up everybody at Redis for some milliseconds.
_BATCH = 200
# Between two transactions: each of them is a sync of the disk for which notifications
# wait.
_PAUSE_SECONDS = 0.05
_CLOSING_SECONDS = 3.0


class DeferredQueue:
    """Puts jobs into a queue behind the back of whoever hands them in.

    Not to be taken through a fork: a thread works from the beginning.

    Args:
        queue: where the jobs go.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._jobs: SimpleQueue[Accepted | None] = SimpleQueue()
        self._next = 0.0
        self._thread = Thread(target=self._work, name="deferred-queue", daemon=True)
        self._thread.start()

    def enqueue_accepted(self, accepted: Iterable[Accepted]) -> None:
        """Have every job enqueued that the ledger asks for, soon; returns at once."""
        for one in accepted:
            if one.job_id:
                self._jobs.put(one)

    def close(self) -> None:
        """Enqueue what there still is, for at most a few seconds."""
        self._jobs.put(None)
        self._thread.join(_CLOSING_SECONDS)

    def _work(self) -> None:
        while batch := self._batch():
            try:
                self._queue.enqueue_accepted(batch)
            except WorkerError as exc:
                log.warning("jobs=%d left to the sweep: %s", len(batch), exc)
            except Exception:
                log.exception("jobs=%d left to the sweep", len(batch))

    def _batch(self) -> list[Accepted]:
        """Wait for a job; return it with what came meanwhile; nothing at the end."""
        one = self._jobs.get()
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + _PAUSE_SECONDS
        batch: list[Accepted] = []
        while one is not None:
            batch.append(one)
            if len(batch) >= _BATCH:
                return batch
            try:
                one = self._jobs.get_nowait()
            except Empty:
                return batch
        if batch:
            # The end comes after them.
            self._jobs.put(None)
        return batch
