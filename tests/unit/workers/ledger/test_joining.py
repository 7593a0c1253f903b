"""What a request means for a run that is under way: it joins, overtakes or waits."""

import pytest

from tests.support.harness.ledger import D1, D2, D3, REFERENCE, LedgerDriver
from workers.ledger import Hint, Lease, Outcome, RunResult, State, orders

FETCHING = State.FETCHING


def begin_with(driver: LedgerDriver, digest: str = D1) -> Lease:
    """Begin a run that has its digest from the registry."""
    driver.push(digest)
    lease = driver.begin()
    driver.ledger.stage(lease, FETCHING, digest=digest)
    return lease


def test_who_asks_for_the_digest_that_is_worked_on_is_answered_by_that_run(
    driver: LedgerDriver,
) -> None:
    lease = begin_with(driver)
    again = driver.push(D1, source="another")
    assert (again.job_id, again.number) == (None, 2)
    assert not driver.ledger.is_overtaken(lease)
    assert driver.publish(lease) is None
    image = driver.image()
    assert (image.state, image.done, image.is_owed) == (State.LIVE, 2, False)
    assert len(driver.ledger.runs(REFERENCE)) == 1


def test_who_joins_a_run_gets_its_failure_and_waits_for_its_next_try(
    driver: LedgerDriver,
) -> None:
    lease = begin_with(driver)
    driver.push(D1)
    later = driver.clock() + 40
    result = RunResult(Outcome.FAILED, reason="503", next_try=later)
    assert driver.ledger.finish(lease, result) is None
    assert driver.image().next_try == later
    driver.clock.passes(40)
    driver.ledger.owed(set())
    assert driver.begin().attempt == 2


def test_a_worker_that_dies_takes_nobody_along_who_joined(driver: LedgerDriver) -> None:
    begin_with(driver)
    driver.push(D1)
    assert driver.ledger.abandon(REFERENCE, worker="w1", how="killed") is not None
    assert driver.begin().number == 2


@pytest.mark.parametrize("digest", [D2, None])
def test_only_another_digest_overtakes(
    driver: LedgerDriver, digest: str | None
) -> None:
    lease = begin_with(driver)
    driver.push(digest)
    is_other = digest is not None
    assert driver.ledger.is_overtaken(lease) is is_other
    assert driver.ledger.may_publish([lease]) == [not is_other]
    assert driver.publish(lease) is not None  # it is looked at again


@pytest.mark.parametrize(
    ("forced", "order"),
    [(True, None), (False, orders.REMOVE), (False, orders.restore(D2))],
)
def test_a_rebuild_and_an_order_overtake(
    driver: LedgerDriver, order: str | None, *, forced: bool
) -> None:
    lease = begin_with(driver)
    hint = Hint(D1, "operator")
    driver.ledger.request(
        REFERENCE, source="operator", forced=forced, order=order, hint=hint
    )
    assert driver.ledger.is_overtaken(lease)
    # Nobody joins what is to be stopped.
    driver.push(D1)
    assert driver.publish(lease) is not None


def test_a_push_overtakes_an_order_and_the_same_order_does_not(
    driver: LedgerDriver,
) -> None:
    ledger = driver.ledger
    for order in (orders.REMOVE, orders.restore(D2)):
        ledger.request(REFERENCE, source="operator", order=order)
        lease = driver.begin()
        ledger.request(REFERENCE, source="operator", order=order)
        assert not ledger.is_overtaken(lease)
        driver.push(D1)
        assert ledger.is_overtaken(lease)
        ledger.cancel(REFERENCE, "enough")


def test_a_look_at_what_may_be_deleted_stops_nobody(driver: LedgerDriver) -> None:
    lease = begin_with(driver)
    driver.ledger.request(
        REFERENCE, source="hub", hint=Hint(None, "hub"), order=orders.LOOK
    )
    assert not driver.ledger.is_overtaken(lease)
    assert driver.publish(lease) is not None
    assert driver.begin().order == orders.LOOK


def test_a_run_that_has_not_asked_yet_is_stopped_by_what_it_was_not_told(
    driver: LedgerDriver,
) -> None:
    driver.push(D1)
    lease = driver.begin()
    driver.push(D1)
    assert not driver.ledger.is_overtaken(lease)
    driver.push(D2)
    assert driver.ledger.is_overtaken(lease)


def test_a_run_that_found_another_digest_than_it_was_told_goes_by_what_it_found(
    driver: LedgerDriver,
) -> None:
    driver.push(D1)
    lease = driver.begin()
    driver.ledger.stage(lease, FETCHING, digest=D2)
    driver.ledger.request(REFERENCE, source="operator")
    assert not driver.ledger.is_overtaken(lease)
    driver.push(D2)
    assert not driver.ledger.is_overtaken(lease)
    driver.push(D1)
    assert driver.ledger.is_overtaken(lease)


def test_the_newest_word_counts_when_a_tag_goes_back(driver: LedgerDriver) -> None:
    lease = begin_with(driver)
    driver.push(D2)
    driver.push(D1)
    assert not driver.ledger.is_overtaken(lease)
    # What was said between them is looked at, though.
    assert driver.publish(lease) is not None


def test_a_doubt_is_settled_by_who_has_asked_the_registry(driver: LedgerDriver) -> None:
    ledger, lease = driver.ledger, begin_with(driver)
    assert ledger.standing(lease).doubted is None
    driver.push(None)
    doubted = ledger.standing(lease).doubted
    assert doubted == 2
    assert not ledger.confirm(lease, 1)
    assert not ledger.confirm(lease, 3)
    assert ledger.confirm(lease, doubted)
    assert ledger.standing(lease).doubted is None
    driver.push(D3)
    assert ledger.standing(lease).is_overtaken
    driver.publish(lease)
    assert not ledger.confirm(lease, 3)


# What was sent when.


@pytest.mark.parametrize("skew", [-35, 9 * 3600])
def test_how_old_a_notification_is_our_clock_tells(
    driver: LedgerDriver, skew: int
) -> None:
    driver.push(D1, time=driver.clock() + skew)
    driver.clock.passes(12)
    assert driver.begin().hint_age == 12


def test_what_is_known_by_our_own_records_is_not_waited_for(
    driver: LedgerDriver,
) -> None:
    hint = Hint(D1, "reconcile", is_news=False)
    driver.ledger.request(REFERENCE, source="reconcile", hint=hint)
    assert driver.begin().hint_age == float("inf")


@pytest.mark.parametrize("skew", [-35, 9 * 3600])
def test_clocks_of_two_sources_are_not_compared(
    driver: LedgerDriver, skew: int
) -> None:
    driver.push(D1, source="hub", time=driver.clock() + skew)
    driver.push(D2, source="lab", time=driver.clock() - skew)
    hint = driver.begin().hint
    assert hint is not None
    assert hint.digest == D2


@pytest.mark.parametrize("between", [True, False], ids=["operator", "nobody"])
def test_an_old_event_that_is_repeated_stops_nobody(
    driver: LedgerDriver, *, between: bool
) -> None:
    sent = driver.clock() + 9 * 3600
    driver.push(D2, time=sent)
    lease = driver.begin()
    driver.ledger.stage(lease, FETCHING, digest=D2)
    if between:
        driver.ledger.request(REFERENCE, source="operator")
    driver.push(D1, time=sent - 1)
    assert not driver.ledger.is_overtaken(lease)
    # Should it be true all the same, the registry says so.
    assert driver.publish(lease, D2) is not None


def test_an_event_without_a_time_is_as_new_as_it_comes(driver: LedgerDriver) -> None:
    driver.push(D1)
    hint = Hint(D2, "hub")
    driver.ledger.request(REFERENCE, source="hub", hint=hint)
    assert driver.begin().hint == hint
