"""What lies in the queue is run only if it is ours, and asked for."""

import json
import pickle
from pathlib import Path

import redis

from tests.support.harness.ledger import REFERENCE
from tests.support.harness.worker_process import (
    OTHER,
    OURS,
    QueueAndWorker,
)
from workers.jobqueue import QUEUE_NAME
from workers.ledger import Accepted, Verdict

Fields = dict[str, str | bytes]


def _put(connection: redis.Redis, job_id: str, fields: Fields) -> None:
    """Put a job in by hand, as whoever can write into Redis could."""
    whole: Fields = {"created_at": "2026-01-01T00:00:00Z", "timeout": "60", **fields}
    for name, value in whole.items():
        connection.hset(f"rq:job:{job_id}", name, value)
    connection.rpush(f"rq:queue:{QUEUE_NAME}", job_id)


def _call(function: object, args: object, kwargs: object = None) -> bytes:
    return json.dumps([function, None, args, kwargs or {}]).encode()


class Exploit:
    """What a pickle can do to whoever loads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_no_job_but_ours_is_run(jobs: QueueAndWorker, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    ours = _call(OURS, [REFERENCE])
    evil = f"touch {mark}"
    foreign: dict[str, Fields] = {
        "pickle": {"data": pickle.dumps((OURS, None, (Exploit(mark),), {}))},
        "pickled-result": {"data": ours, "meta": pickle.dumps(Exploit(mark))},
        "other-function": {"data": _call("os.system", [evil])},
        "method": {"data": json.dumps(["system", "os", [evil], {}]).encode()},
        "two-arguments": {"data": _call(OURS, [REFERENCE, evil])},
        "named-arguments": {"data": _call(OURS, [], {"reference": REFERENCE})},
        "odd-reference": {"data": _call(OURS, ["../../etc:x"])},
        "no-canonical-reference": {"data": _call(OURS, ["debian"])},
        "no-text": {"data": _call(OURS, [{"a": 1}])},
        "no-list": {"data": _call(OURS, {"a": 1})},
        "no-call": {"data": b"[1, 2]"},
        "deep": {"data": b"[" * 100_000},
        "success": {"data": ours, "success_callback_name": "os.getpid"},
        "failure": {"data": ours, "failure_callback_name": "os.getpid"},
        "stopped": {"data": ours, "stopped_callback_name": "os.getpid"},
        "depends": {"data": ours, "dependency_ids": '["x"]'},
        "retries": {"data": ours, "retries_left": "5"},
        "repeats": {"data": ours, "repeats_left": "5"},
        "limited": {"data": ours, "rate_limit_key": "x"},
        "group": {"data": ours, "group_id": "x"},
        "endless": {"data": ours, "timeout": "-1"},
        "no-timeout": {"data": ours, "timeout": ""},
        "bad-timeout": {"data": ours, "timeout": "soon"},
        "bad-date": {"data": ours, "created_at": "yesterday"},
        "no-data": {"status": "queued"},
    }
    for job_id, fields in foreign.items():
        _put(jobs.connection, job_id, fields)
    for raw in (b"no/id", b"\xff\xfe", b""):
        jobs.connection.rpush(f"rq:queue:{QUEUE_NAME}", raw)
    jobs.connection.rpush(f"rq:queue:{QUEUE_NAME}", "no-such-job")
    jobs.push(OTHER)
    with jobs.worker() as worker:
        worker.go()
        jobs.wait_until_live(OTHER)
        assert worker.process.poll() is None
        log = worker.log
    named = {job_id for job_id in foreign if f"job={job_id} dropped" in log}
    unreadable = {job_id for job_id in foreign if f"job={job_id!r} dropped" in log}
    # RQ passes over what has no call in it, as over a job that is gone.
    assert named | unreadable == set(foreign) - {"no-data"}
    assert not mark.exists()
    assert jobs.ledger.image(REFERENCE) is None
    left = {key.decode() for key in jobs.connection.scan_iter("rq:job:*")}
    assert not left & {f"rq:job:{job_id}" for job_id in named}


def test_a_job_of_ours_that_nobody_asked_for_does_nothing(jobs: QueueAndWorker) -> None:
    uncalled = Accepted(REFERENCE, Verdict.QUEUED, "allowed", "uncalled-for")
    jobs.queue.enqueue_accepted([uncalled])
    with jobs.worker("publish", "--burst") as worker:
        worker.go()
        assert worker.process.wait(30) == 0
    assert jobs.ledger.image(REFERENCE) is None
