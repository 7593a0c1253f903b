"""A worker that lives stays in RQ's records, whatever becomes of them."""

import rq

from tests.support.harness.ledger import LedgerDriver
from workers.jobqueue import QUEUE_NAME
from workers.jobqueue.registration import stay_registered
from workers.jobqueue.worker import ImageWorker


def shown(worker: ImageWorker) -> tuple[list[str], object]:
    (one,) = rq.Worker.all(connection=worker.connection)
    return one.queue_names(), one.get_state()


def born(driver: LedgerDriver) -> ImageWorker:
    worker = ImageWorker(driver.connection, ledger=driver.ledger, memory_mib=1024)
    worker.register_birth()  # type: ignore[no-untyped-call] # RQ's
    worker.set_state("busy")
    return worker


def test_an_entry_that_was_flushed_is_written_again(driver: LedgerDriver) -> None:
    worker = born(driver)
    driver.connection.flushall()
    worker._beat()
    assert shown(worker) == ([QUEUE_NAME], "idle")
    assert driver.connection.ttl(worker.key) > 0


def test_an_entry_that_ran_out_while_a_job_runs_is_written_again(
    driver: LedgerDriver,
) -> None:
    worker = born(driver)
    driver.connection.delete(worker.key)
    worker.heartbeat()  # which leaves an entry without queues
    stay_registered(worker)
    assert shown(worker) == ([QUEUE_NAME], "busy")


def test_what_rq_writes_again_by_itself_is_completed(driver: LedgerDriver) -> None:
    worker = born(driver)
    driver.connection.hdel(worker.key, "state")
    stay_registered(worker)
    assert shown(worker) == ([QUEUE_NAME], "busy")


def test_an_entry_that_is_there_is_left_alone(driver: LedgerDriver) -> None:
    worker = born(driver)
    driver.connection.hset(worker.key, "state", "suspended")
    stay_registered(worker)
    assert shown(worker) == ([QUEUE_NAME], "suspended")
