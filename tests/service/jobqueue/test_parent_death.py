"""A child of the worker does not outlive it."""

from tests.support.harness.ledger import REFERENCE
from tests.support.harness.worker_process import QueueAndWorker, is_running
from tests.support.tools.waiting import wait_until


def test_a_killed_worker_takes_its_horse_along_and_another_takes_over(
    jobs: QueueAndWorker,
) -> None:
    jobs.push()
    with jobs.worker() as worker:
        horse = worker.started(1)
        worker.process.kill()
        worker.process.wait()
        wait_until(lambda: not is_running(horse), "the horse dies")
    with jobs.worker() as worker:
        worker.started(2)
        worker.go()
        jobs.wait_until_live()
    assert jobs.ledger.runs(REFERENCE)[1].reason == "its process was lost"
