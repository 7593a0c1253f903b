"""The sweep: what is owed is carried again, whoever died and whatever was lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE, Bench, bench_on
from tests.support.harness.redis_server import RedisServer
from workers.jobqueue import JobQueue
from workers.ledger import Outcome, State

PROMISE_SECONDS = 60
SWEEP_SECONDS = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("queue")) as running:
        yield running


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with bench_on(server) as made:
        yield made


def seconds_until_carried(bench: Bench, queued: set[str]) -> float:
    """Sweep every ten seconds until a job comes out, and say how long it took."""
    started = bench.clock()
    while not bench.ledger.owed(queued):
        bench.clock.passes(SWEEP_SECONDS)
        assert bench.clock() - started <= PROMISE_SECONDS
    return bench.clock() - started


def test_a_job_that_waits_in_the_queue_is_left_there(bench: Bench) -> None:
    job_id = bench.push().job_id
    assert job_id is not None
    for _ in range(100):
        bench.clock.passes(SWEEP_SECONDS)
        assert bench.ledger.owed({job_id}) == []


def test_a_job_that_never_reached_the_queue_is_carried_after_a_second(
    bench: Bench,
) -> None:
    first = bench.push()
    assert bench.ledger.owed(set()) == []
    bench.clock.passes(1)
    (job,) = bench.ledger.owed(set())
    assert job.reference == REFERENCE
    assert job.job_id not in {first.job_id, None}
    assert bench.ledger.owed(set()) == []


def test_a_job_is_given_time_once_it_is_in_the_queue(bench: Bench) -> None:
    queue = JobQueue(bench.connection)
    queue.enqueue_accepted([bench.push()])
    bench.clock.passes(15)
    # It would be carried once more, for it is not among the ids.
    assert bench.ledger.owed(set()) == []
    bench.clock.passes(1)
    assert len(bench.ledger.owed(set())) == 1


def test_a_job_enqueued_too_late_makes_nothing_owed_again(bench: Bench) -> None:
    late = bench.push()
    bench.publish(bench.begin())
    JobQueue(bench.connection).enqueue_accepted([late])
    assert bench.ledger.next_due() is None


def test_a_job_that_vanishes_from_the_queue_is_carried_within_a_minute(
    bench: Bench,
) -> None:
    job_id = bench.push().job_id
    assert job_id is not None
    for _ in range(10):
        bench.clock.passes(SWEEP_SECONDS)
        bench.ledger.owed({job_id})
    assert seconds_until_carried(bench, set()) <= PROMISE_SECONDS


def test_the_job_of_a_dead_worker_is_carried_within_a_minute(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    for _ in range(20):
        bench.clock.passes(5)
        assert bench.ledger.keep_alive(lease)
    assert seconds_until_carried(bench, set()) <= PROMISE_SECONDS
    assert bench.image().state is State.QUEUED
    (run,) = bench.ledger.runs(REFERENCE)
    assert run.outcome is Outcome.FAILED
    assert run.reason == "its process was lost"
    again = bench.begin()
    assert (again.number, again.attempt) == (1, 2)


def test_a_worker_known_to_be_dead_is_replaced_at_once(bench: Bench) -> None:
    bench.push()
    bench.begin("host:17")
    assert bench.ledger.abandon(REFERENCE, worker="host:18", how="signal 9") is None
    again = bench.ledger.abandon(REFERENCE, worker="host:17", how="signal 9")
    assert again is not None
    assert again.job_id is not None
    assert bench.begin("host:19").attempt == 2
    assert bench.ledger.runs(REFERENCE)[0].reason == "signal 9"


def test_a_stopped_worker_is_no_attempt_of_the_image(bench: Bench) -> None:
    bench.push()
    for _ in range(20):
        assert bench.begin("w").attempt == 1
        assert bench.ledger.release(REFERENCE, worker="w") is not None
        assert bench.image().state is State.QUEUED


def test_an_image_that_kills_its_worker_each_time_is_given_up(bench: Bench) -> None:
    bench.push()
    deaths = 0
    while bench.image().state is not State.FAILED:
        bench.begin("w")
        deaths += 1
        if not bench.ledger.abandon(REFERENCE, worker="w", how="signal 9"):
            bench.clock.passes(PROMISE_SECONDS)
            bench.ledger.owed(set())
    assert deaths == 5
    image = bench.image()
    assert image.reason is not None
    assert "died 5 times" in image.reason
    assert "signal 9" in image.reason
    assert image.done == image.requested
    assert bench.ledger.next_due() is None
    assert bench.ledger.begin(REFERENCE, worker="w") is None


def test_an_image_that_loses_its_worker_each_time_is_given_up(bench: Bench) -> None:
    bench.push()
    for _ in range(5):
        bench.begin("w")
        bench.clock.passes(32)
        bench.ledger.owed(set())
        bench.clock.passes(PROMISE_SECONDS)
    image = bench.image()
    assert image.state is State.FAILED
    assert image.reason is not None
    assert "died 5 times" in image.reason


def test_a_new_push_of_an_image_that_was_given_up_starts_afresh(bench: Bench) -> None:
    test_an_image_that_kills_its_worker_each_time_is_given_up(bench)
    assert bench.push(D2).job_id is not None
    assert bench.begin().attempt == 1
    assert bench.ledger.abandon(REFERENCE, worker="w1", how="signal 9") is not None


def test_a_push_while_the_worker_dies_is_not_blamed_for_it(bench: Bench) -> None:
    for _ in range(10):
        bench.push(D1)
        bench.begin("w")
        bench.push(D2)
        assert bench.ledger.abandon(REFERENCE, worker="w", how="signal 9") is not None
    assert bench.image().state is State.QUEUED


def test_a_failure_between_deaths_ends_the_count(bench: Bench) -> None:
    bench.push()
    for _ in range(4):
        bench.begin("w")
        bench.ledger.abandon(REFERENCE, worker="w", how="signal 9")
        bench.clock.passes(PROMISE_SECONDS)
        bench.ledger.owed(set())
    lease = bench.begin("w")
    bench.ledger.finish(lease, Outcome.FAILED, reason="503", next_try=bench.clock() + 1)
    bench.clock.passes(2)
    bench.ledger.owed(set())
    bench.begin("w")
    assert bench.ledger.abandon(REFERENCE, worker="w", how="signal 9") is not None


@pytest.mark.slow
def test_thousands_are_swept_in_one_call(bench: Bench) -> None:
    names = [f"docker.io/atlas/many:{i}" for i in range(1200)]
    jobs = {bench.push(reference=name).job_id or "" for name in names}
    bench.clock.passes(20)
    lost = {next(iter(jobs))}
    (again,) = bench.ledger.owed(jobs - lost)
    assert again.reference in names
    bench.clock.passes(2)
    assert bench.ledger.owed({again.job_id or ""}) == []
    due = bench.ledger.next_due()
    assert due is not None
    assert due > SWEEP_SECONDS


def test_one_worker_sweeps_for_all(bench: Bench) -> None:
    assert bench.ledger.claim_sweep()
    assert not bench.ledger.claim_sweep()


def test_what_was_accepted_survives_a_kill_of_the_server(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, bench_on(server) as bench:
        bench.push(D1)
        lease = bench.begin()
        bench.push(D2)
        server.restart()
        assert bench.ledger.keep_alive(lease)
        assert bench.publish(lease, D1) is not None
        server.restart()
        assert bench.image().live_digest == D1
        assert bench.publish(bench.begin(), D2) is None
        server.restart()
        assert bench.image().state is State.LIVE
        assert bench.image().live_digest == D2
