"""A lease that is kept while its job works."""

from threading import Thread

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE, LedgerDriver
from tests.support.harness.redis_server import RedisServer
from tests.support.tools.waiting import wait_until
from workers.ledger import (
    Lease,
    LedgerUnavailable,
    Outcome,
    Progress,
    RunResult,
    State,
)
from workers.run import heartbeat
from workers.run.heartbeat import Heartbeat, LeaseLost, Overtaken

HALF = Progress(1, 2, 50, 100)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a heart beat fifty times a second."""
    monkeypatch.setattr(heartbeat, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "_PROLONG_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat, "_PAUSE_SECONDS", 0.05)


def take_over(driver: LedgerDriver) -> None:
    """Let another worker find the lease run out, and take it."""
    driver.clock.passes(3600)
    assert driver.ledger.begin(REFERENCE, worker="another")


@pytest.mark.slow
def test_a_lease_lives_as_long_as_its_heart_beats(
    driver: LedgerDriver, fast: None
) -> None:
    driver.push()
    lease = driver.begin()
    with Heartbeat(driver.ledger, lease):

        def is_prolonged() -> bool:
            key = f"cvmfs-webhook:image:{REFERENCE}"
            until = driver.connection.hget(key, "lease_until")
            return float(until or 0) > driver.clock() + 20

        for _ in range(4):  # 80 s by the ledger's clock, of a lease for 30
            driver.clock.passes(20)
            wait_until(is_prolonged, "the lease is prolonged")
            assert driver.ledger.begin(REFERENCE, worker="another") is None
    driver.clock.passes(60)
    assert driver.ledger.begin(REFERENCE, worker="another") is not None


def test_progress_is_told_by_the_heart_and_costs_the_worker_nothing(
    driver: LedgerDriver, fast: None
) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        for done in range(51):
            beating.tell(Progress(1, 2, done, 100))
        wait_until(lambda: driver.image().progress == HALF, "the progress is there")


def test_the_last_progress_is_told_with_the_next_stage(driver: LedgerDriver) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        beating.tell(HALF)
        beating.stage(State.PUBLISHING, digest=D1)
        assert driver.image().progress == HALF
        assert driver.image().state is State.PUBLISHING


def test_a_newer_push_stops_those_who_only_tell(
    driver: LedgerDriver, fast: None
) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        beating.look()
        driver.push(D2)

        def is_stopped() -> bool:
            try:
                beating.tell(HALF)
            except Overtaken:
                return True
            return False

        wait_until(is_stopped, "the work is stopped")
        with pytest.raises(Overtaken):
            beating.look()


def test_who_asks_is_told_at_once(driver: LedgerDriver) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        beating.check()
        driver.push(D2)
        with pytest.raises(Overtaken):
            beating.check()
        take_over(driver)
        with pytest.raises(LeaseLost):
            beating.check()
        with pytest.raises(LeaseLost):
            beating.tell(HALF)


def test_a_lost_lease_stops_the_work_and_the_heart(
    driver: LedgerDriver, fast: None
) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        take_over(driver)

        def is_lost() -> bool:
            try:
                beating.look()
            except LeaseLost:
                return True
            return False

        wait_until(is_lost, "the loss is noticed")
        wait_until(lambda: not beating._thread.is_alive(), "it beats no more")
    assert driver.image().last_run
    assert driver.image().is_running  # the other's


def test_a_queue_server_that_is_away_stops_nobody(
    driver: LedgerDriver, redis_server: RedisServer, fast: None
) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        redis_server.kill()
        beating.tell(HALF)
        said = Thread(target=beating.stage, args=(State.CONVERTING,))
        said.start()
        redis_server.start()
        said.join()
        beating.check()
        assert driver.image().state is State.CONVERTING
        done = RunResult(Outcome.PUBLISHED, D1, revision=7)
        assert beating.finish(done) is None
    record = driver.image()
    assert (record.state, record.revision) == (State.LIVE, 7)


def test_a_queue_server_that_hangs_for_nearly_a_lease_costs_nothing(
    driver: LedgerDriver, redis_server: RedisServer, fast: None
) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        redis_server.freeze()
        try:
            driver.clock.passes(45)
            beating.tell(HALF)
        finally:
            redis_server.thaw()
        # A sweeping worker may be the first one whom it answers.
        assert driver.ledger.owed(set()) == []
        beating.check()
        driver.clock.passes(45)
        assert driver.ledger.owed(set()) == []
        done = RunResult(Outcome.PUBLISHED, D1, revision=7)
        assert beating.finish(done) is None
    assert [run.outcome for run in driver.ledger.runs(REFERENCE)] == ["published"]


@pytest.mark.slow
def test_patience_ends(
    driver: LedgerDriver, redis_server: RedisServer, fast: None
) -> None:
    driver.push()
    lease = driver.begin()
    redis_server.kill()
    try:
        with (
            Heartbeat(driver.ledger, lease, patience_seconds=0) as beating,
            pytest.raises(LedgerUnavailable),
        ):
            beating.check()
    finally:
        redis_server.start()


def test_the_end_says_what_is_wanted_next(driver: LedgerDriver) -> None:
    driver.push()
    with Heartbeat(driver.ledger, driver.begin()) as beating:
        driver.push()
        again = beating.finish(
            RunResult(Outcome.SUPERSEDED, reason="a newer one waits")
        )
    assert again is not None
    assert again.reference == REFERENCE
    assert again.job_id


def fetching(driver: LedgerDriver) -> Lease:
    """Begin a run that has its digest from the registry."""
    driver.push(D1)
    lease = driver.begin()
    driver.ledger.stage(lease, State.FETCHING, digest=D1)
    return lease


def test_who_asks_without_a_digest_is_answered_by_the_run_if_the_registry_agrees(
    driver: LedgerDriver, fast: None
) -> None:
    asked: list[int] = []
    with Heartbeat(driver.ledger, fetching(driver)) as beating:

        def is_current() -> bool:
            asked.append(driver.image().requested)
            return True

        beating.watch(is_current)
        beating.check_newest()
        assert not asked
        driver.push(None)
        wait_until(lambda: driver.image().started == 2, "the run answers it")
        beating.check_newest()
        done = RunResult(Outcome.PUBLISHED, D1, revision=7)
        assert beating.finish(done) is None
    assert asked == [2]
    assert not driver.image().is_owed


def test_a_run_stops_when_the_registry_has_another_digest(driver: LedgerDriver) -> None:
    with Heartbeat(driver.ledger, fetching(driver)) as beating:
        beating.watch(lambda: False)
        driver.push(None)
        with pytest.raises(Overtaken):
            beating.check_newest()
        with pytest.raises(Overtaken):
            beating.check()


def test_a_run_goes_on_when_the_registry_does_not_say(driver: LedgerDriver) -> None:
    def away() -> bool:
        raise LedgerUnavailable("or a registry")

    with Heartbeat(driver.ledger, fetching(driver)) as beating:
        beating.watch(away)
        driver.push(None)
        beating.check_newest()
        assert beating.finish(RunResult(Outcome.PUBLISHED, D1)) is not None


def test_a_run_that_must_not_be_stopped_any_more_is_not_stopped_by_a_moved_tag(
    driver: LedgerDriver,
) -> None:
    for _ in range(2):
        driver.push()
        driver.ledger.finish(driver.begin(), RunResult(Outcome.SUPERSEDED))
    with Heartbeat(driver.ledger, fetching(driver)) as beating:
        beating.watch(lambda: False)
        driver.push(None)
        beating.check_newest()
