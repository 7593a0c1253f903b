"""Leases: kept by whoever lives, also through a server that hangs, and no longer."""

from tests.support.harness.ledger import REFERENCE, LedgerDriver
from workers.ledger import Ledger

BEAT_SECONDS = 3.0  # between two times that a lease is prolonged, at the most


def test_a_server_that_hangs_for_45_seconds_costs_neither_a_lease_nor_a_death(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    driver.clock.passes(20)
    assert driver.ledger.keep_alive(lease)
    driver.clock.passes(BEAT_SECONDS + 45 + 2)
    # Others are quicker to ask.
    assert driver.ledger.owed(set()) == []
    assert driver.ledger.begin(REFERENCE, worker="another") is None
    assert driver.ledger.keep_alive(lease)
    assert not driver.ledger.is_overtaken(lease)
    assert driver.ledger.runs(REFERENCE) == []
    assert driver.image().is_running


def test_a_holder_takes_back_what_has_run_out_and_nobody_has(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    driver.clock.passes(600)
    assert driver.ledger.keep_alive(lease)
    assert driver.ledger.begin(REFERENCE, worker="another") is None
    assert driver.ledger.owed(set()) == []


def test_what_a_dead_process_held_is_run_again_within_a_minute(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    assert driver.ledger.keep_alive(lease)
    driver.clock.passes(57)
    (again,) = driver.ledger.owed(set())
    assert again.reference == REFERENCE
    assert driver.ledger.begin(REFERENCE, worker="another")
    assert not driver.ledger.keep_alive(lease)


def test_the_time_of_a_lease_may_be_chosen(driver: LedgerDriver) -> None:
    driver.push()
    ledger = Ledger(driver.connection, clock=driver.clock, lease_seconds=2)
    assert ledger.begin(REFERENCE, worker="w")
    driver.clock.passes(3)
    assert ledger.begin(REFERENCE, worker="another")
