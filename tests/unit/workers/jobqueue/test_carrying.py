"""What carries accepted requests into the queue."""

import json
import zlib
from pathlib import Path

import pytest

from tests.support.harness.ledger import REFERENCE, LedgerDriver
from tests.support.harness.redis_server import RedisServer
from workers.jobqueue import JobQueue
from workers.ledger import Accepted, LedgerUnavailable, Verdict

ONE = Accepted(REFERENCE, Verdict.QUEUED, "allowed", "one")


def test_what_is_put_in_is_seen_waiting(driver: LedgerDriver) -> None:
    queue = JobQueue(driver.connection)
    queue.enqueue_accepted([ONE])
    assert queue.queued_ids() == {"one"}
    assert queue.depth() == 1
    accepted = driver.push(reference="docker.io/library/debian:12")
    assert queue.enqueue_accepted([accepted, accepted]) == 1
    assert queue.queued_ids() == {"one", accepted.job_id}


def test_what_needs_no_job_is_not_put_in(driver: LedgerDriver) -> None:
    queue = JobQueue(driver.connection)
    driver.push()
    assert queue.enqueue_accepted([driver.push()]) == 0
    assert queue.depth() == 0


def test_a_job_is_json_and_names_one_function(driver: LedgerDriver) -> None:
    JobQueue(driver.connection, function="module.ours").enqueue_accepted([ONE])
    data = driver.connection.hget("rq:job:one", "data")
    assert isinstance(data, bytes)
    assert json.loads(zlib.decompress(data)) == ["module.ours", None, [REFERENCE], {}]


@pytest.mark.slow
def test_a_queue_that_is_away_is_one_error_of_ours(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        queue = JobQueue(connection)
        server.kill()
        for attempt in (
            lambda: queue.enqueue_accepted([ONE]),
            queue.queued_ids,
            queue.depth,
        ):
            with pytest.raises(LedgerUnavailable):
                attempt()
