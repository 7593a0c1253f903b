"""RQ's records in order: without what dead workers left, and what others have put in.

RQ trusts what it reads, and stops at the first id that is no text. It only carries
work, so nothing is lost with what is taken out: what is owed, the ledger hands out
again.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import cast

import redis
import rq
from rq import registry, worker_registration
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from workers.ledger.reading import as_text

log = logging.getLogger(__name__)

_JOB = re.compile(rb"[A-Za-z0-9_-]{1,200}")
# A registry of what is under way has the job and its execution.
_ENTRY = re.compile(rb"[A-Za-z0-9_-]{1,200}(:[A-Za-z0-9_-]{1,200})?")
_QUEUE = re.compile(rb"rq:queue:[A-Za-z0-9_.:-]{1,100}")
_WORKER = re.compile(rb"rq:worker:[A-Za-z0-9_.:-]{1,200}")
_REGISTRIES = (
    registry.StartedJobRegistry,
    registry.FinishedJobRegistry,
    registry.FailedJobRegistry,
    registry.DeferredJobRegistry,
    registry.ScheduledJobRegistry,
    registry.CanceledJobRegistry,
    registry.ReadyJobRegistry,
)


def tidy(queue: rq.Queue) -> None:
    """Drop what dead workers left in RQ's records, and what is none of them.

    RQ itself would run failure callbacks and web hooks meanwhile; and nothing here is
    needed for a job to run again.
    """
    take_out_odd_entries(queue)
    queue.finished_job_registry.cleanup()
    queue.failed_job_registry.cleanup()
    started = queue.started_job_registry
    for job_id in started.get_expired_job_ids():
        queue.connection.delete(Job.key_for(job_id))
    queue.connection.zremrangebyscore(started.key, 0, time.time())
    _clean_intermediate_queue(queue)
    worker_registration.clean_worker_registry(queue)


def take_out_odd_entries(queue: rq.Queue) -> None:
    """Take out of RQ's lists whatever cannot be an id, and keys of another type."""
    for each in _collections(queue):
        each.take_out(queue.connection)


def take_out_unreadable_jobs(connection: redis.Redis) -> None:
    """Take every job out of RQ's lists that cannot be read; it reads each of them."""

    def is_unreadable(entry: bytes) -> bool:
        return _is_unreadable(connection, entry)

    for queue in _queues(connection):
        take_out_odd_entries(queue)
        for each in _collections(queue):
            if each.pattern in {_JOB, _ENTRY}:
                each.take_out(connection, is_unreadable)


def _clean_intermediate_queue(queue: rq.Queue) -> None:
    """Forget the jobs that workers took, and died before they had begun."""
    taken = queue.intermediate_queue
    for job_id in taken.get_job_ids():
        try:
            taken.set_first_seen(job_id)
            is_over = taken.should_be_cleaned_up(job_id)
        except (ValueError, OverflowError, OSError, redis.ResponseError):
            # The time at which it was first seen is none.
            is_over = True
            queue.connection.delete(taken.get_first_seen_key(job_id))
        if is_over:
            taken.remove(job_id)
            queue.connection.delete(Job.key_for(job_id))


def _queues(connection: redis.Redis) -> list[rq.Queue]:
    _Collection(rq.Queue.redis_queues_keys, "set", _QUEUE).take_out(connection)
    return rq.Queue.all(connection=connection, serializer=JSONSerializer)


class _Collection:
    """One of RQ's lists of ids.

    Args:
        key: where it is.
        kind: as Redis calls its type.
        pattern: of its entries.
    """

    def __init__(self, key: str, kind: str, pattern: re.Pattern[bytes]) -> None:
        self._key = key
        self._kind = kind
        self.pattern = pattern

    def take_out(
        self,
        connection: redis.Redis,
        is_odd: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Take out what is odd; without ``is_odd``: what the pattern does not match."""
        kind = as_text(connection.type(self._key))
        if kind not in {self._kind, "none"}:
            log.warning("%s is a %s and no %s: dropped", self._key, kind, self._kind)
            connection.delete(self._key)
            return
        for entry in self._entries(connection):
            if is_odd(entry) if is_odd else not self.pattern.fullmatch(entry):
                log.warning("%s: %r dropped, it cannot be read", self._key, entry[:100])
                self._remove(connection, entry)

    def _entries(self, connection: redis.Redis) -> list[bytes]:
        reply: object
        if self._kind == "list":
            reply = connection.lrange(self._key, 0, -1)
        elif self._kind == "set":
            reply = list(connection.smembers(self._key))
        else:
            reply = connection.zrange(self._key, 0, -1)
        # The connection does not decode.
        return cast("list[bytes]", reply)

    def _remove(self, connection: redis.Redis, entry: bytes) -> None:
        if self._kind == "list":
            connection.lrem(self._key, 0, entry)  # type: ignore[arg-type] # bytes, too
        elif self._kind == "set":
            connection.srem(self._key, entry)
        else:
            connection.zrem(self._key, entry)


def _collections(queue: rq.Queue) -> Iterator[_Collection]:
    yield _Collection(queue.key, "list", _JOB)
    yield _Collection(queue.intermediate_queue_key, "list", _JOB)
    for kind in _REGISTRIES:
        yield _Collection(kind(queue=queue).key, "zset", _ENTRY)
    yield _Collection(rq.Queue.redis_queues_keys, "set", _QUEUE)
    yield _Collection(worker_registration.REDIS_WORKER_KEYS, "set", _WORKER)
    of_queue = worker_registration.WORKERS_BY_QUEUE_KEY % queue.name
    yield _Collection(of_queue, "set", _WORKER)


def _is_unreadable(connection: redis.Redis, entry: bytes) -> bool:
    """Whether a job is there and cannot be read; it is deleted then."""
    job_id = entry.decode().partition(":")[0]
    try:
        job = Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
        # Each of these is decoded only now.
        str((job.args, job.kwargs, job.get_status(), job.get_meta()))
        job.latest_result()
    except NoSuchJobError:
        return False
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except Exception:  # noqa: BLE001 - foreign fields raise anything
        connection.delete(Job.key_for(job_id), f"rq:results:{job_id}")
        return True
    return False
