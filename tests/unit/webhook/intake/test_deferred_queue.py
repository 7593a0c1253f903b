"""What is handed in while nobody waits for it gets into the queue all the same."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.support.harness.ledger import LedgerDriver, open_ledger_driver
from tests.support.harness.redis_server import RedisServer
from tests.support.tools.waiting import wait_until
from webhook.intake.deferred_queue import DeferredQueue
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect_url
from workers.ledger import Accepted, Verdict


@pytest.mark.slow
def test_every_job_is_in_the_queue_once_it_is_closed(driver: LedgerDriver) -> None:
    queue = JobQueue(driver.connection)
    jobs = [driver.push(reference=f"a.b/team/web:{number}") for number in range(450)]
    with closing(DeferredQueue(queue)) as deferred:
        for job in jobs:
            deferred.enqueue_accepted([job])
    assert queue.queued_ids() == {job.job_id for job in jobs}


def test_what_needs_no_job_is_not_put_in(driver: LedgerDriver) -> None:
    queue = JobQueue(driver.connection)
    with closing(DeferredQueue(queue)) as deferred:
        deferred.enqueue_accepted([Accepted("a.b/c:1", Verdict.QUEUED, "waits")])
    assert queue.depth() == 0


def test_a_server_that_is_away_is_told_and_does_not_end_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path) as server, open_ledger_driver(server) as driver:
        first, second = driver.push(), driver.push(reference="a.b/c:1")
        with connect_url(server.url, patience_seconds=0.1) as impatient:
            deferred = DeferredQueue(JobQueue(impatient))
            server.kill()
            deferred.enqueue_accepted([first])
            wait_until(lambda: "left to the sweep" in caplog.text, "it is told")
            server.start()
            deferred.enqueue_accepted([second])
            deferred.close()
        assert JobQueue(driver.connection).queued_ids() == {second.job_id}
