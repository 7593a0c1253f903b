"""What is wrong around the queue: why nothing is kept, and who is missed."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.harness.ledger import LedgerDriver
from workers.care.queue_standing import (
    RECONCILER,
    WORKER,
    NoWorker,
    QueueStanding,
    check_workers,
)
from workers.jobqueue import JobQueue
from workers.jobqueue.worker import ImageWorker
from workers.ledger import Looks
from workers.policy import PolicyFile

WATCHING = """\
version: 1
rules:
  - {allow: registry.example.org/**, watch: {every: 1m}}
"""


@pytest.fixture
def standing(driver: LedgerDriver, tmp_path: Path) -> QueueStanding:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nrules: [{allow: registry.example.org/**}]\n")
    return QueueStanding(
        driver.ledger,
        Looks(driver.connection, driver.ledger.now),
        JobQueue(driver.connection),
        PolicyFile(path),
        is_trusted=False,
    )


def test_while_all_is_well_nothing_is_said(standing: QueueStanding) -> None:
    assert standing.problem() is None
    assert standing.warnings() == {}


def test_a_redis_that_may_forget_is_a_problem_unless_it_is_trusted(
    driver: LedgerDriver, standing: QueueStanding
) -> None:
    driver.connection.config_set("appendfsync", "everysec")
    try:
        assert "appendfsync everysec" in (standing.problem() or "")
        assert replace(standing, is_trusted=True).problem() is None
    finally:
        driver.connection.config_set("appendfsync", "always")


def test_a_worker_is_missed_only_while_work_waits_for_long(
    driver: LedgerDriver, standing: QueueStanding
) -> None:
    driver.push()
    driver.clock.passes(50)
    assert standing.warnings() == {}
    check_workers(driver.ledger)
    driver.clock.passes(50)
    assert "99 s" in standing.warnings()[WORKER]
    with pytest.raises(NoWorker, match="kept"):
        check_workers(driver.ledger)
    driver.ledger.owed(set())  # as a worker does
    assert standing.warnings() == {}


def test_a_worker_that_works_long_is_not_missed(
    driver: LedgerDriver, standing: QueueStanding
) -> None:
    driver.push()
    lease = driver.begin()
    for _ in range(10):
        driver.clock.passes(40)
        assert driver.ledger.keep_alive(lease)
        assert standing.warnings() == {}


def test_a_reconciler_is_missed_where_the_policy_watches(
    driver: LedgerDriver, standing: QueueStanding, tmp_path: Path
) -> None:
    path = tmp_path / "watching.yaml"
    path.write_text(WATCHING)
    standing = replace(standing, policy=PolicyFile(path))
    assert "cvmfs-webhook reconcile" in standing.warnings()[RECONCILER]
    standing.looks.note_asked()
    assert standing.warnings() == {}


def test_registered_workers_are_counted_while_they_live(
    driver: LedgerDriver, standing: QueueStanding
) -> None:
    assert standing.queue.workers() == 0
    worker = ImageWorker(driver.connection, ledger=driver.ledger, memory_mib=1024)
    worker.register_birth()  # type: ignore[no-untyped-call] # RQ's
    assert standing.queue.workers() == 1
    driver.connection.delete(worker.key)  # as it ends by itself, soon after its worker
    assert standing.queue.workers() == 0
