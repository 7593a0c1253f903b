"""The sweep: what is owed is carried again, whoever died and whatever was lost."""

from pathlib import Path

import pytest

from tests.support.harness.ledger import (
    D1,
    D2,
    REFERENCE,
    LedgerDriver,
    open_ledger_driver,
)
from tests.support.harness.redis_server import RedisServer
from workers.jobqueue import JobQueue
from workers.ledger import Outcome, RunResult, State

PROMISE_SECONDS = 60
SWEEP_SECONDS = 10


def seconds_until_carried(driver: LedgerDriver, queued: set[str]) -> float:
    """Sweep every ten seconds until a job comes out, and say how long it took."""
    started = driver.clock()
    while not driver.ledger.owed(queued):
        driver.clock.passes(SWEEP_SECONDS)
        assert driver.clock() - started <= PROMISE_SECONDS
    return driver.clock() - started


def test_a_job_that_waits_in_the_queue_is_left_there(driver: LedgerDriver) -> None:
    job_id = driver.push().job_id
    assert job_id is not None
    for _ in range(100):
        driver.clock.passes(SWEEP_SECONDS)
        assert driver.ledger.owed({job_id}) == []


def test_a_job_that_never_reached_the_queue_is_carried_after_a_second(
    driver: LedgerDriver,
) -> None:
    first = driver.push()
    assert driver.ledger.owed(set()) == []
    driver.clock.passes(1)
    (job,) = driver.ledger.owed(set())
    assert job.reference == REFERENCE
    assert job.job_id not in {first.job_id, None}
    assert driver.ledger.owed(set()) == []


def test_a_job_is_given_time_once_it_is_in_the_queue(driver: LedgerDriver) -> None:
    queue = JobQueue(driver.connection)
    queue.enqueue_accepted([driver.push()])
    driver.clock.passes(15)
    # It would be carried once more, for it is not among the ids.
    assert driver.ledger.owed(set()) == []
    driver.clock.passes(1)
    assert len(driver.ledger.owed(set())) == 1


def test_a_job_enqueued_too_late_makes_nothing_owed_again(driver: LedgerDriver) -> None:
    late = driver.push()
    driver.publish(driver.begin())
    JobQueue(driver.connection).enqueue_accepted([late])
    assert driver.ledger.next_due() is None


def test_a_job_that_vanishes_from_the_queue_is_carried_within_a_minute(
    driver: LedgerDriver,
) -> None:
    job_id = driver.push().job_id
    assert job_id is not None
    for _ in range(10):
        driver.clock.passes(SWEEP_SECONDS)
        driver.ledger.owed({job_id})
    assert seconds_until_carried(driver, set()) <= PROMISE_SECONDS


def test_the_job_of_a_dead_worker_is_carried_within_a_minute(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    for _ in range(20):
        driver.clock.passes(5)
        assert driver.ledger.keep_alive(lease)
    assert seconds_until_carried(driver, set()) <= PROMISE_SECONDS
    assert driver.image().state is State.QUEUED
    (run,) = driver.ledger.runs(REFERENCE)
    assert run.outcome is Outcome.FAILED
    assert run.reason == "its process was lost"
    again = driver.begin()
    assert (again.number, again.attempt) == (1, 2)


def test_a_worker_known_to_be_dead_is_replaced_at_once(driver: LedgerDriver) -> None:
    driver.push()
    driver.begin("host:17")
    assert driver.ledger.abandon(REFERENCE, worker="host:18", how="signal 9") is None
    again = driver.ledger.abandon(REFERENCE, worker="host:17", how="signal 9")
    assert again is not None
    assert again.job_id is not None
    assert driver.begin("host:19").attempt == 2
    assert driver.ledger.runs(REFERENCE)[0].reason == "signal 9"


def test_a_stopped_worker_is_no_attempt_of_the_image(driver: LedgerDriver) -> None:
    driver.push()
    for _ in range(20):
        assert driver.begin("w").attempt == 1
        assert driver.ledger.release(REFERENCE, worker="w") is not None
        assert driver.image().state is State.QUEUED


def test_an_image_that_kills_its_worker_each_time_is_given_up(
    driver: LedgerDriver,
) -> None:
    driver.push()
    deaths = 0
    while driver.image().state is not State.FAILED:
        driver.begin("w")
        deaths += 1
        if not driver.ledger.abandon(REFERENCE, worker="w", how="signal 9"):
            driver.clock.passes(PROMISE_SECONDS)
            driver.ledger.owed(set())
    assert deaths == 5
    image = driver.image()
    assert image.reason is not None
    assert "died 5 times" in image.reason
    assert "signal 9" in image.reason
    assert image.done == image.requested
    assert driver.ledger.next_due() is None
    assert driver.ledger.begin(REFERENCE, worker="w") is None


def test_an_image_that_loses_its_worker_each_time_is_given_up(
    driver: LedgerDriver,
) -> None:
    driver.push()
    for _ in range(5):
        driver.begin("w")
        driver.clock.passes(60)
        driver.ledger.owed(set())
        driver.clock.passes(PROMISE_SECONDS)
    image = driver.image()
    assert image.state is State.FAILED
    assert image.reason is not None
    assert "died 5 times" in image.reason


def test_a_new_push_of_an_image_that_was_given_up_starts_afresh(
    driver: LedgerDriver,
) -> None:
    test_an_image_that_kills_its_worker_each_time_is_given_up(driver)
    assert driver.push(D2).job_id is not None
    assert driver.begin().attempt == 1
    assert driver.ledger.abandon(REFERENCE, worker="w1", how="signal 9") is not None


def test_a_push_while_the_worker_dies_is_not_blamed_for_it(
    driver: LedgerDriver,
) -> None:
    for _ in range(10):
        driver.push(D1)
        driver.begin("w")
        driver.push(D2)
        assert driver.ledger.abandon(REFERENCE, worker="w", how="signal 9") is not None
    assert driver.image().state is State.QUEUED


def test_a_failure_between_deaths_ends_the_count(driver: LedgerDriver) -> None:
    driver.push()
    for _ in range(4):
        driver.begin("w")
        driver.ledger.abandon(REFERENCE, worker="w", how="signal 9")
        driver.clock.passes(PROMISE_SECONDS)
        driver.ledger.owed(set())
    lease = driver.begin("w")
    driver.ledger.finish(
        lease, RunResult(Outcome.FAILED, reason="503", next_try=driver.clock() + 1)
    )
    driver.clock.passes(2)
    driver.ledger.owed(set())
    driver.begin("w")
    assert driver.ledger.abandon(REFERENCE, worker="w", how="signal 9") is not None


@pytest.mark.slow
def test_thousands_are_swept_in_one_call(driver: LedgerDriver) -> None:
    names = [f"docker.io/atlas/many:{i}" for i in range(1200)]
    jobs = {driver.push(reference=name).job_id or "" for name in names}
    driver.clock.passes(20)
    lost = {next(iter(jobs))}
    (again,) = driver.ledger.owed(jobs - lost)
    assert again.reference in names
    driver.clock.passes(2)
    assert driver.ledger.owed({again.job_id or ""}) == []
    due = driver.ledger.next_due()
    assert due is not None
    assert due > SWEEP_SECONDS


def test_one_worker_sweeps_for_all(driver: LedgerDriver) -> None:
    assert driver.ledger.claim_sweep()
    assert not driver.ledger.claim_sweep()


def test_a_claim_without_an_end_stops_no_sweep_for_ever(driver: LedgerDriver) -> None:
    key = "cvmfs-webhook:sweep"
    for write in (
        lambda: driver.connection.set(key, b"\xff"),
        lambda: driver.connection.set(key, "1", ex=10**9),
        lambda: driver.connection.rpush(key, "1"),
    ):
        driver.connection.delete(key)
        write()
        assert not driver.ledger.claim_sweep()
        assert driver.ledger.claim_sweep()


def test_what_was_accepted_survives_a_kill_of_the_server(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, open_ledger_driver(server) as driver:
        driver.push(D1)
        lease = driver.begin()
        driver.push(D2)
        server.restart()
        assert driver.ledger.keep_alive(lease)
        assert driver.publish(lease, D1) is not None
        server.restart()
        assert driver.image().live_digest == D1
        assert driver.publish(driver.begin(), D2) is None
        server.restart()
        assert driver.image().state is State.LIVE
        assert driver.image().live_digest == D2
