"""When a run's process is killed, and what the ledger is told of it then."""

import resource
import signal

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE, LedgerDriver, StoppedClock
from tests.support.harness.redis_server import RedisServer
from workers.jobqueue.last_word import LastWord, how_it_died, out_of_time
from workers.ledger import Hint, Lease, Outcome, RunRecord, RunResult, State, orders

WORKER = "machine-7"
LIMIT_SECONDS = 100.0
MEMORY_MIB = 512


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(0.0)


@pytest.fixture
def word(driver: LedgerDriver, clock: StoppedClock) -> LastWord:
    return LastWord(
        driver.ledger, REFERENCE, WORKER, LIMIT_SECONDS, MEMORY_MIB, clock=clock
    )


@pytest.fixture
def lease(driver: LedgerDriver) -> Lease:
    driver.push()
    return driver.begin(WORKER)


def usage(peak_mib: int) -> resource.struct_rusage:
    """Return what ``wait4`` says of a process that took so much at its highest."""
    return resource.struct_rusage((0.0, 0.0, peak_mib << 10, *(0,) * 13))


def last_run(driver: LedgerDriver) -> RunRecord:
    return driver.ledger.runs(REFERENCE, 1)[0]


def test_a_run_that_is_wanted_is_left_alone(
    word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    while clock() < LIMIT_SECONDS - 1:
        assert not word.speak()
        clock.passes(1)
    assert not word.has_result(signal.SIGKILL, usage(400))


def test_a_run_that_is_cancelled_is_killed_though_nobody_saw_it_begin(
    driver: LedgerDriver, word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    assert driver.ledger.cancel(REFERENCE, "by hand")
    assert not word.speak()
    clock.passes(3)
    assert word.speak()
    assert word.has_result(signal.SIGKILL, None)
    assert word.tell() is None
    assert last_run(driver).reason == "by hand"


def test_after_another_push_nobody_is_taken_for_cancelled(
    driver: LedgerDriver, word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    driver.ledger.cancel(REFERENCE, "by hand")
    driver.push()
    for _ in range(20):
        assert not word.speak()
        clock.passes(1)


def test_a_run_that_has_not_begun_is_left_alone(
    driver: LedgerDriver, word: LastWord, clock: StoppedClock
) -> None:
    driver.push()
    driver.begin("another")
    driver.push(D2)
    for _ in range(20):
        assert not word.speak()
        clock.passes(1)


@pytest.mark.parametrize("order", [None, orders.REMOVE])
def test_a_run_that_is_not_wanted_has_some_time_to_end(
    driver: LedgerDriver,
    word: LastWord,
    clock: StoppedClock,
    lease: Lease,
    order: str | None,
) -> None:
    assert not word.speak()
    hint = Hint(D2, "test")
    driver.ledger.request(REFERENCE, source="test", order=order, hint=hint)
    assert not word.speak()
    clock.passes(2)
    assert not word.speak()
    clock.passes(1)
    assert word.speak()
    assert word.has_result(signal.SIGKILL, usage(100))
    again = word.tell()
    assert again is not None
    assert again.reference == REFERENCE
    assert last_run(driver).outcome is Outcome.SUPERSEDED
    assert driver.image().state is State.QUEUED


def test_a_run_out_of_time_is_final(
    driver: LedgerDriver, word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    assert not word.speak()
    clock.passes(LIMIT_SECONDS)
    assert not word.speak()
    clock.passes(3)
    assert word.speak()
    assert word.has_result(signal.SIGKILL, usage(100))
    assert word.tell() is None
    run, image = last_run(driver), driver.image()
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert run.reason == "it took longer than 100 seconds; push a smaller image"
    assert image.state is State.FAILED
    assert image.done == image.requested


def test_a_run_out_of_time_needs_no_ledger_to_be_ended(
    redis_server: RedisServer, word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    clock.passes(LIMIT_SECONDS)
    redis_server.kill()
    try:
        assert not word.speak()
        clock.passes(3)
        assert word.speak()
    finally:
        redis_server.start()


def test_of_a_run_that_ended_by_itself_nothing_is_told(
    driver: LedgerDriver, word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    assert not word.speak()
    driver.publish(lease)
    assert not word.speak()
    clock.passes(3)
    # Its process hangs, and should not; but what it said stands.
    assert word.speak()
    assert word.tell() is None
    assert last_run(driver).outcome is Outcome.PUBLISHED
    assert driver.image().live_digest == D1


def test_a_run_that_another_took_over_is_left_to_that(
    driver: LedgerDriver, word: LastWord, clock: StoppedClock, lease: Lease
) -> None:
    assert not word.speak()
    driver.clock.passes(60)
    driver.begin("another")
    assert not word.speak()
    clock.passes(3)
    assert word.speak()
    assert word.tell() is None
    assert driver.image().is_running


@pytest.mark.parametrize("death", [signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS])
def test_a_large_process_that_gives_up_wanted_more_memory(
    driver: LedgerDriver, word: LastWord, lease: Lease, death: signal.Signals
) -> None:
    assert not word.has_result(death, usage(100))
    assert not word.has_result(signal.SIGKILL, usage(500))
    assert not word.has_result(1 << 8, usage(500))
    assert not word.has_result(None, None)
    assert word.has_result(death, usage(500))
    assert word.tell() is None
    run = last_run(driver)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "more than 512 MiB of memory" in (run.reason or "")


def test_every_death_has_words() -> None:
    assert how_it_died(None) == "it vanished"
    assert how_it_died(1 << 8) == "it ended with 1"
    assert how_it_died(signal.SIGKILL) == "killed by SIGKILL"
    of_memory = "killed by the kernel, which was out of memory"
    assert how_it_died(signal.SIGKILL, is_oom=True) == of_memory
    assert how_it_died(signal.SIGSEGV, is_oom=True) == "killed by SIGSEGV"
    assert how_it_died(signal.SIGSEGV) == "killed by SIGSEGV"


def test_a_limit_is_said_in_hours_where_it_is_some() -> None:
    assert "longer than 4 hours" in out_of_time(4 * 3600)
    assert "longer than 90 seconds" in out_of_time(90)


def test_a_result_is_told_once(
    driver: LedgerDriver, word: LastWord, lease: Lease
) -> None:
    assert word.has_result(signal.SIGABRT, usage(500))
    word.tell()
    word.tell()
    assert len(driver.ledger.runs(REFERENCE)) == 1
    assert driver.ledger.finish(lease, RunResult(Outcome.FAILED)) is None


@pytest.mark.slow
def test_a_ledger_that_is_away_is_waited_for_unless_one_is_told_to_stop(
    redis_server: RedisServer, driver: LedgerDriver, word: LastWord, lease: Lease
) -> None:
    assert word.has_result(signal.SIGABRT, usage(500))
    redis_server.kill()
    try:
        assert word.tell(lambda: True) is None
    finally:
        redis_server.start()
    assert driver.image().is_running
    redis_server.kill()

    def asked() -> bool:
        redis_server.start()
        return False

    word.tell(asked)
    assert not driver.image().is_running
    assert last_run(driver).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([3, 3], "killed by SIGKILL"),
        ([3, 4], "killed by the kernel, which was out of memory"),
        ([None, None], "killed by SIGKILL"),
    ],
)
def test_memory_is_named_only_where_the_kernel_killed_for_it_meanwhile(
    driver: LedgerDriver, counts: list[int | None], said: str
) -> None:
    word = LastWord(
        driver.ledger,
        REFERENCE,
        WORKER,
        LIMIT_SECONDS,
        MEMORY_MIB,
        count_oom_kills=iter(counts).__next__,
    )
    assert word.how_it_died(signal.SIGKILL) == said
