"""The queue of ready batches, and the fences of those that lie in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.harness.ledger import StoppedClock
from tests.support.harness.redis_server import RedisServer
from workers.jobqueue.connection import connect_url
from workers.ledger import Lease, Ledger
from workers.publishing.group import CALLED, QueueAway
from workers.publishing.ready_queue import ReadyBatches, fence_token

FQRN = "test.example.org"


@pytest.fixture
def connection(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(1_800_000_000.0)


@pytest.fixture
def ledger(connection: redis.Redis, clock: StoppedClock) -> Ledger:
    return Ledger(connection, clock=clock)


@pytest.fixture
def queue(connection: redis.Redis, ledger: Ledger) -> ReadyBatches:
    return ReadyBatches(connection, ledger, FQRN)


def begin(ledger: Ledger, name: str) -> Lease:
    ledger.request(name, source="test")
    lease = ledger.begin(name, worker="worker")
    assert lease is not None
    return lease


def test_entries_come_back_in_their_order(queue: ReadyBatches) -> None:
    ids = [queue.add(f"fence {number}", f"batch {number}") for number in range(12)]
    found = queue.entries()
    assert [entry.id for entry in found] == ids
    assert found[3].fence == "fence 3"
    assert found[3].batch == "batch 3"


def test_repositories_have_queues_of_their_own(
    connection: redis.Redis, ledger: Ledger, queue: ReadyBatches
) -> None:
    queue.add("fence", "batch")
    assert ReadyBatches(connection, ledger, "other.example.org").entries() == []


def test_an_answer_takes_its_entry_out_and_reaches_its_owner(
    queue: ReadyBatches,
) -> None:
    first, second, third = (queue.add("fence", "batch") for _ in range(3))
    queue.answer({first: "one", third: "three"})
    assert [entry.id for entry in queue.entries()] == [second]
    assert queue.wait(first, 0) == "one"
    assert queue.wait(third, 10) == "three"
    assert queue.wait(second, 0) is None
    assert queue.wait(second, 0.01) is None


def test_the_oldest_is_called(queue: ReadyBatches) -> None:
    queue.call()
    first, second = (queue.add("fence", "batch") for _ in range(2))
    queue.call()
    assert queue.wait(second, 0.01) is None
    assert queue.wait(first, 10) == CALLED
    queue.call()
    queue.answer({first: "done"})
    # Whoever leads already has been called, and asks for an answer only.
    assert queue.wait(first, 0) == "done"


def test_what_is_withdrawn_is_not_found(queue: ReadyBatches) -> None:
    entry = queue.add("fence", "batch")
    queue.withdraw(entry)
    queue.withdraw(entry)
    assert queue.entries() == []


def test_nothing_stays_in_redis_for_ever(
    queue: ReadyBatches, connection: redis.Redis
) -> None:
    first = queue.add("fence", "batch")
    queue.add("fence", "batch")
    queue.answer({first: "answer"})
    queue.call()
    keys = list(connection.scan_iter("cvmfs-webhook:ready:*"))
    assert len(keys) == 3
    assert all(connection.ttl(key) > 0 for key in keys)


def test_a_fence_holds_as_long_as_its_run_may_publish(
    queue: ReadyBatches, ledger: Ledger
) -> None:
    runs = [begin(ledger, name) for name in ("kept", "lost", "overtaken")]
    tokens = list(map(fence_token, runs))
    assert queue.standing([]) == []
    assert queue.standing(tokens) == [True, True, True]
    ledger.abandon("lost", worker="worker", how="killed")
    ledger.request("overtaken", source="test")
    assert queue.standing(tokens) == [True, False, False]
    assert queue.standing(tokens[:0:-1]) == [False, False]
    # Nobody else's run is meant.
    begin(ledger, "lost")
    assert queue.standing(tokens) == [True, False, False]


def test_a_run_that_must_not_be_stopped_any_more_may_publish(
    queue: ReadyBatches, ledger: Ledger
) -> None:
    run = begin(ledger, "image")
    ledger.request("image", source="test")
    stubborn = Lease(
        run.reference, run.token, run.number, 1, overtaken=2, hint=None, forced=False
    )
    answers = queue.standing([fence_token(run), fence_token(stubborn)])
    assert answers == [False, True]
    assert [ledger.is_overtaken(run), ledger.is_overtaken(stubborn)] == [True, False]


def test_a_fence_that_is_asked_for_holds_for_some_seconds_and_no_longer(
    queue: ReadyBatches, ledger: Ledger, clock: StoppedClock
) -> None:
    run = begin(ledger, "image")
    clock.passes(29)
    assert queue.standing([fence_token(run)]) == [True]
    clock.passes(5)
    assert ledger.begin("image", worker="another") is None
    clock.passes(10)
    assert ledger.begin("image", worker="another") is not None
    assert queue.standing([fence_token(run)]) == [False]


def test_a_fence_that_is_asked_for_takes_nothing_from_a_lease(
    queue: ReadyBatches, ledger: Ledger, clock: StoppedClock
) -> None:
    run = begin(ledger, "image")
    assert queue.standing([fence_token(run)]) == [True]
    clock.passes(25)
    assert ledger.begin("image", worker="another") is None


@pytest.mark.slow
def test_a_queue_that_is_away_says_so(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as gone:
        url = gone.url
    with connect_url(url, patience_seconds=0.1) as connection:
        queue = ReadyBatches(connection, Ledger(connection), FQRN)
        for call in (
            lambda: queue.add("fence", "batch"),
            queue.entries,
            lambda: queue.answer({"id": "answer"}),
            queue.call,
            lambda: queue.wait("id", 0),
            lambda: queue.wait("id", 0.01),
            lambda: queue.withdraw("id"),
            lambda: queue.standing(['["image", "token", 1, 0]']),
        ):
            with pytest.raises(QueueAway, match="the queue server does not work"):
                call()
