"""A lease that is kept while its job works."""

from collections.abc import Iterator
from threading import Thread

import pytest

from tests.support.harness.ledger import D1, REFERENCE, Bench, bench_on
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.worker_process import eventually
from workers.ledger import LedgerUnavailable, Outcome, Progress, State
from workers.run import heartbeat
from workers.run.heartbeat import Ending, Heartbeat, LeaseLost, Overtaken

HALF = Progress(1, 2, 50, 100)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with bench_on(server) as made:
        yield made


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a heart beat fifty times a second."""
    monkeypatch.setattr(heartbeat, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "_PROLONG_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat, "_PAUSE_SECONDS", 0.05)


def take_over(bench: Bench) -> None:
    """Let another worker find the lease run out, and take it."""
    bench.clock.passes(3600)
    assert bench.ledger.begin(REFERENCE, worker="another")


def test_a_lease_lives_as_long_as_its_heart_beats(bench: Bench, fast: None) -> None:
    bench.push()
    lease = bench.begin()
    with Heartbeat(bench.ledger, lease):

        def is_prolonged() -> bool:
            key = f"cvmfs-webhook:image:{REFERENCE}"
            until = bench.connection.hget(key, "lease_until")
            return float(until or 0) > bench.clock() + 20

        for _ in range(4):  # 80 s by the ledger's clock, of a lease for 30
            bench.clock.passes(20)
            eventually(is_prolonged, "the lease is prolonged")
            assert bench.ledger.begin(REFERENCE, worker="another") is None
    bench.clock.passes(60)
    assert bench.ledger.begin(REFERENCE, worker="another") is not None


def test_progress_is_told_by_the_heart_and_costs_the_worker_nothing(
    bench: Bench, fast: None
) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        for done in range(51):
            beating.tell(Progress(1, 2, done, 100))
        eventually(lambda: bench.image().progress == HALF, "the progress is there")


def test_the_last_progress_is_told_with_the_next_stage(bench: Bench) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        beating.tell(HALF)
        beating.stage(State.PUBLISHING, digest=D1)
        assert bench.image().progress == HALF
        assert bench.image().state is State.PUBLISHING


def test_a_newer_push_stops_those_who_only_tell(bench: Bench, fast: None) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        beating.look()
        bench.push()

        def is_stopped() -> bool:
            try:
                beating.tell(HALF)
            except Overtaken:
                return True
            return False

        eventually(is_stopped, "the work is stopped")
        with pytest.raises(Overtaken):
            beating.look()


def test_who_asks_is_told_at_once(bench: Bench) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        beating.check()
        bench.push()
        with pytest.raises(Overtaken):
            beating.check()
        take_over(bench)
        with pytest.raises(LeaseLost):
            beating.check()
        with pytest.raises(LeaseLost):
            beating.tell(HALF)


def test_a_lost_lease_stops_the_work_and_the_heart(bench: Bench, fast: None) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        take_over(bench)

        def is_lost() -> bool:
            try:
                beating.look()
            except LeaseLost:
                return True
            return False

        eventually(is_lost, "the loss is noticed")
        eventually(lambda: not beating._thread.is_alive(), "it beats no more")
    assert bench.image().last_run
    assert bench.image().is_running  # the other's


def test_a_queue_server_that_is_away_stops_nobody(
    bench: Bench, server: RedisServer, fast: None
) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        server.kill()
        beating.tell(HALF)
        said = Thread(target=beating.stage, args=(State.CONVERTING,))
        said.start()
        server.start()
        said.join()
        beating.check()
        assert bench.image().state is State.CONVERTING
        done = Ending(Outcome.PUBLISHED, D1, revision=7)
        assert beating.finish(done) is None
    record = bench.image()
    assert (record.state, record.revision) == (State.LIVE, 7)


@pytest.mark.slow
def test_patience_ends(bench: Bench, server: RedisServer, fast: None) -> None:
    bench.push()
    lease = bench.begin()
    server.kill()
    try:
        with (
            Heartbeat(bench.ledger, lease, patience_seconds=0) as beating,
            pytest.raises(LedgerUnavailable),
        ):
            beating.check()
    finally:
        server.start()


def test_the_end_says_what_is_wanted_next(bench: Bench) -> None:
    bench.push()
    with Heartbeat(bench.ledger, bench.begin()) as beating:
        bench.push()
        again = beating.finish(Ending(Outcome.SUPERSEDED, reason="a newer one waits"))
    assert again is not None
    assert again.reference == REFERENCE
    assert again.job_id
