"""What was turned away is known until it is asked for again."""

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE, LedgerDriver
from workers.ledger import Outcome, RunResult, TurnedAway
from workers.ledger.odd import PREFIX

OTHER = "docker.io/library/debian:12"


@pytest.fixture
def turned_away(driver: LedgerDriver) -> TurnedAway:
    return TurnedAway(driver.connection)


def refuse_in_a_run(driver: LedgerDriver, digest: str | None) -> None:
    driver.push(D1)
    result = RunResult(Outcome.REFUSED, digest, "no rule")
    driver.ledger.finish(driver.begin(), result)


def test_the_newest_comes_first_and_goes_when_it_is_asked_for(
    driver: LedgerDriver, turned_away: TurnedAway
) -> None:
    for name in (REFERENCE, OTHER, REFERENCE):
        driver.clock.passes(1)
        driver.refuse(name)
    assert turned_away.names(by_runs=False) == [REFERENCE, OTHER]
    driver.push(D1, REFERENCE)
    assert turned_away.names(by_runs=True) == [OTHER]


def test_a_push_that_was_refused_beside_what_is_live_is_known(
    driver: LedgerDriver, turned_away: TurnedAway
) -> None:
    driver.make_live(D1)
    driver.refuse()
    assert turned_away.names(by_runs=False) == [REFERENCE]
    driver.make_live(D2)
    assert turned_away.names(by_runs=True) == []


@pytest.mark.parametrize(("digest", "is_by_name"), [(None, True), (D1, False)])
def test_what_a_run_refused_for_more_than_its_name_is_apart(
    driver: LedgerDriver, turned_away: TurnedAway, digest: str, *, is_by_name: bool
) -> None:
    refuse_in_a_run(driver, digest)
    assert turned_away.names(by_runs=True) == [REFERENCE]
    assert (turned_away.names(by_runs=False) == [REFERENCE]) is is_by_name
    assert driver.image().is_turned_away is is_by_name


def test_a_reason_is_the_policys_own_when_the_name_was_refused_since(
    driver: LedgerDriver,
) -> None:
    refuse_in_a_run(driver, D1)
    driver.refuse(reason="denied")
    assert driver.image().is_turned_away
    driver.make_live()
    driver.refuse()
    assert not driver.image().is_turned_away


def test_names_of_nothing_and_what_others_wrote_harm_nobody(
    driver: LedgerDriver, turned_away: TurnedAway
) -> None:
    driver.connection.set(f"{PREFIX}turned-away", "x")
    driver.connection.hset(f"{PREFIX}decided-by", "x", "y")
    assert turned_away.names(by_runs=True) == []
    assert turned_away.decided_by() is None
    for name in (b"\xff", b"a b"):
        driver.connection.zadd(f"{PREFIX}turned-away", {name: 1})
    assert turned_away.names(by_runs=True) == []


def test_the_policy_that_decided_last_is_remembered(turned_away: TurnedAway) -> None:
    assert turned_away.decided_by() is None
    turned_away.note_decided("abc")
    assert turned_away.decided_by() == "abc"
