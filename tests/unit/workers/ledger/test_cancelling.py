"""What is cancelled is not owed any more, and what is live stays."""

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE, LedgerDriver
from workers.ledger import Outcome, RunResult, State

WHY = "cancelled by the operator"


def cancel(driver: LedgerDriver) -> bool:
    return driver.ledger.cancel(REFERENCE, WHY)


def test_what_waits_is_not_begun(driver: LedgerDriver) -> None:
    driver.push()
    assert cancel(driver)
    assert driver.ledger.begin(REFERENCE, worker="w1") is None
    assert driver.ledger.next_due() is None
    image = driver.image()
    assert (image.state, image.reason, image.is_owed) == (State.FAILED, WHY, False)
    assert image.is_reason_open


@pytest.mark.parametrize("stops", [0, 1, 2, 3])
def test_a_run_that_is_under_way_loses_its_lease_however_often_it_was_stopped(
    driver: LedgerDriver, stops: int
) -> None:
    for _ in range(stops):
        driver.push()
        driver.ledger.finish(driver.begin(), RunResult(Outcome.SUPERSEDED))
    driver.push()
    lease = driver.begin()
    assert cancel(driver)
    assert not driver.ledger.keep_alive(lease)
    assert driver.ledger.is_overtaken(lease)
    assert driver.ledger.may_publish([lease]) == [False]
    assert driver.ledger.abandon(REFERENCE, worker="w1", how="killed") is None
    run = driver.ledger.runs(REFERENCE, 1)[0]
    assert (run.outcome, run.reason, run.next_try) == (Outcome.FAILED, WHY, None)


def test_what_is_live_stays_live(driver: LedgerDriver) -> None:
    driver.make_live(D1)
    driver.push(D1)
    assert cancel(driver)
    assert driver.image().state is State.LIVE
    driver.push(D2)
    driver.begin()
    assert cancel(driver)
    image = driver.image()
    assert (image.state, image.live_digest) == (State.FAILED, D1)


def test_the_next_push_is_worked_off_as_ever(driver: LedgerDriver) -> None:
    driver.push()
    driver.begin()
    cancel(driver)
    assert driver.push(D2).job_id
    driver.publish(driver.begin(), D2)
    assert driver.image().state is State.LIVE


def test_a_push_after_what_waited_was_cancelled_needs_no_job_of_before(
    driver: LedgerDriver,
) -> None:
    driver.push()  # whose job is lost
    cancel(driver)
    driver.push(D2)
    driver.clock.passes(60)
    assert [one.reference for one in driver.ledger.owed(set())] == [REFERENCE]


def test_what_a_cancelled_run_has_published_all_the_same_is_looked_at_again(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    cancel(driver)
    assert driver.publish(lease) is not None
    assert driver.image().is_owed


def test_of_what_is_not_owed_nothing_is_changed(driver: LedgerDriver) -> None:
    assert not cancel(driver)
    driver.make_live(D1)
    before = driver.image()
    assert not cancel(driver)
    assert driver.image() == before
