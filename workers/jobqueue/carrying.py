"""Putting references into RQ's queue, and seeing which ones wait there."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import redis
import rq
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException

from workers.jobqueue.tidying import take_out_odd_entries
from workers.ledger import Accepted, put_off
from workers.ledger.reading import as_text
from workers.ledger.unavailable import as_ledger_error

T = TypeVar("T")

QUEUE_NAME = "cvmfs-webhook"
JOB_FUNCTION = "workers.jobs.run"
# A run that takes longer is taken for stuck and its process ended.
JOB_SECONDS = 4 * 3600
# How long RQ's own pages show what has ended; the ledger keeps the history.
SHOWN_SECONDS = 900

# Raised in a job, at whatever it does, when its JOB_SECONDS are over.
OutOfTime = JobTimeoutException


class JobQueue:
    """Carries references to workers. What it loses, the ledger's sweep puts in again.

    Every method raises LedgerUnavailable when Redis does not answer: it is one Redis.
    """

    def __init__(
        self, connection: redis.Redis, *, function: str = JOB_FUNCTION
    ) -> None:
        """Use ``connection``, which must not decode replies.

        Args:
            connection: to the Redis that holds the ledger too.
            function: dotted name of what a worker calls with the reference.
        """
        self._function = function
        self.connection = connection
        self._queue = rq.Queue(
            QUEUE_NAME,
            connection=connection,
            serializer=JSONSerializer,
            default_timeout=JOB_SECONDS,
        )

    def enqueue_accepted(self, accepted: Iterable[Accepted]) -> int:
        """Put in every job that the ledger asks for, in one round trip; count them."""
        # By its id, because RQ refuses to be given one id twice.
        references = {
            one.job_id: one.reference
            for one in accepted
            if one.job_id and one.reference
        }
        if references:
            data = [self._data(name, job_id) for job_id, name in references.items()]

            def enqueue() -> None:
                with self.connection.pipeline() as pipeline:
                    self._queue.enqueue_many(data, pipeline=pipeline)
                    put_off(pipeline, references.values())
                    pipeline.execute()

            self._ask(enqueue)
        return len(references)

    def queued_ids(self) -> set[str]:
        """Return the ids of the jobs that wait; what is no id is none of them."""
        # RQ's own question fails as a whole if one id is no text.
        ids = self._ask(lambda: self.connection.lrange(self._queue.key, 0, -1))
        return {as_text(job_id) for job_id in ids}

    def depth(self) -> int:
        """Return how many jobs wait."""
        return self._ask(lambda: self._queue.count)

    def workers(self) -> int:
        """Return how many workers are alive, or died within the last minutes."""
        with as_ledger_error():
            keys = rq.Worker.all_keys(queue=self._queue)
            return int(self.connection.exists(*keys)) if keys else 0

    def _ask(self, ask: Callable[[], T]) -> T:
        with as_ledger_error():
            try:
                return ask()
            except redis.ResponseError:
                take_out_odd_entries(self._queue)
                return ask()

    def _data(self, reference: str, job_id: str) -> rq.queue.EnqueueData:
        return rq.Queue.prepare_data(
            self._function,
            args=[reference],
            job_id=job_id,
            description=reference,
            timeout=JOB_SECONDS,
            result_ttl=SHOWN_SECONDS,
            failure_ttl=SHOWN_SECONDS,
        )
