"""RQ's records hold nothing that RQ stumbles over."""

import time
import zlib

import pytest
import rq
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.support.harness.ledger import REFERENCE, LedgerDriver
from workers.jobqueue import QUEUE_NAME, JobQueue
from workers.jobqueue.tidying import take_out_unreadable_jobs, tidy
from workers.ledger import Accepted, Verdict

QUEUE = f"rq:queue:{QUEUE_NAME}"
LISTS = (QUEUE, f"{QUEUE}:intermediate")
REGISTRIES = tuple(
    f"rq:{name}:{QUEUE_NAME}"
    for name in ("wip", "finished", "failed", "deferred", "scheduled", "canceled")
)
SETS = ("rq:queues", "rq:workers", f"rq:workers:{QUEUE_NAME}")
ODD = (b"\xff\xfe", b"", b"no/id", b"a\nb", b"x" * 1000, b"rq:job:\xff")


@pytest.fixture
def queue(driver: LedgerDriver) -> rq.Queue:
    job = Accepted(REFERENCE, Verdict.QUEUED, "allowed", "ours")
    JobQueue(driver.connection).enqueue_accepted([job])
    return rq.Queue(QUEUE_NAME, connection=driver.connection, serializer=JSONSerializer)


def test_odd_entries_go_and_all_others_stay(queue: rq.Queue) -> None:
    connection = queue.connection
    later = time.time() + 1000
    for odd in ODD:
        for key in LISTS:
            connection.rpush(key, odd)
        for key in REGISTRIES:
            connection.zadd(key, {odd: 0.0, odd + b"!": later})
        for key in SETS:
            connection.sadd(key, odd)
    connection.rpush(LISTS[1], "taken")
    connection.zadd(REGISTRIES[0], {"ours:execution": later})
    worker = "rq:worker:host-1-abc"
    connection.hset(worker, "birth", "")
    connection.sadd(SETS[1], worker)
    JobQueue(connection).queued_ids()
    tidy(queue)
    assert queue.get_job_ids() == ["ours"]
    assert queue.intermediate_queue.get_job_ids() == ["taken"]
    assert queue.started_job_registry.get_job_ids(cleanup=False) == ["ours"]
    for key in REGISTRIES[1:]:
        assert connection.zcard(key) == 0, key
    assert connection.smembers(SETS[0]) == {QUEUE.encode()}
    assert connection.smembers(SETS[1]) == {worker.encode()}


@pytest.mark.parametrize("key", [*LISTS, *REGISTRIES, *SETS])
def test_a_key_of_another_type_goes(queue: rq.Queue, key: str) -> None:
    connection = queue.connection
    connection.set(key, b"\xff")
    tidy(queue)
    assert not connection.exists(key)


def test_a_queue_that_is_no_list_takes_jobs_again(queue: rq.Queue) -> None:
    carrier = JobQueue(queue.connection)
    queue.connection.set(QUEUE, "no list")
    assert carrier.depth() == 0
    queue.connection.set(QUEUE, "no list")
    assert carrier.queued_ids() == set()
    queue.connection.set(QUEUE, "no list")
    job = Accepted(REFERENCE, Verdict.QUEUED, "allowed", "another")
    assert carrier.enqueue_accepted([job]) == 1
    assert carrier.queued_ids() == {"another"}


@pytest.mark.parametrize("seen", [b"garbage", b"\xff", b"nan", b"1e300"])
def test_a_job_that_was_taken_at_no_time_is_forgotten(
    queue: rq.Queue, seen: bytes
) -> None:
    taken = queue.intermediate_queue
    queue.connection.rpush(taken.key, "taken")
    queue.connection.set(taken.get_first_seen_key("taken"), seen)
    tidy(queue)
    assert taken.get_job_ids() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", b"\xff\xfe"),
        ("data", zlib.compress(b"[[[[")),
        ("data", zlib.compress(b"[" * 100_000)),
        ("created_at", b"yesterday"),
        ("status", b"\xff"),
        ("description", b"\xff"),
        ("meta", b"\xff"),
        ("timeout", b"soon"),
        ("origin", b"\xff"),
    ],
)
def test_a_job_that_cannot_be_read_goes(
    queue: rq.Queue, field: str, value: bytes
) -> None:
    other = Accepted(REFERENCE, Verdict.QUEUED, "allowed", "another")
    JobQueue(queue.connection).enqueue_accepted([other])
    queue.connection.hset("rq:job:ours", field, value)
    take_out_unreadable_jobs(queue.connection)
    assert queue.get_job_ids() == ["another"]
    assert not Job.exists("ours", connection=queue.connection)
