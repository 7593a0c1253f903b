"""The queue of ready batches, and the fences of those that lie in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.harness.ledger import StoppedClock
from tests.support.harness.redis_server import RedisServer
from workers.jobqueue.connection import connect_url
from workers.ledger import Lease, Ledger, Outcome, RunResult
from workers.publishing.ready_entry import new_entry_id
from workers.publishing.ready_queue import (
    ReadyBatches,
    count_set_aside,
    fence_token,
)
from workers.publishing.together import CALLED, QueueAway, UnknownFence

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


def lay(queue: ReadyBatches, entry: str = "entry") -> str:
    """Lay an entry down; return its id."""
    entry_id = new_entry_id()
    queue.add(entry_id, entry)
    return entry_id


def test_the_oldest_entries_come_back_in_their_order(queue: ReadyBatches) -> None:
    ids = [lay(queue, f"entry {number}") for number in range(12)]
    found = queue.entries(100)
    assert list(found) == ids
    assert found[ids[3]] == "entry 3"
    assert list(queue.entries(5)) == ids[:5]


def test_repositories_have_queues_of_their_own(
    connection: redis.Redis, ledger: Ledger, queue: ReadyBatches
) -> None:
    lay(queue)
    assert ReadyBatches(connection, ledger, "other.example.org").entries(9) == {}


def test_an_answer_takes_its_entry_out_and_reaches_its_owner(
    queue: ReadyBatches,
) -> None:
    first, second, third = (lay(queue) for _ in range(3))
    queue.answer({first: "one", third: "three"})
    assert list(queue.entries(9)) == [second]
    assert queue.wait(first, 0) == ["one"]
    assert queue.wait(third, 10) == ["three"]
    assert queue.wait(second, 0) == []
    assert queue.wait(second, 0.01) == []


def test_the_oldest_is_called(queue: ReadyBatches) -> None:
    queue.call()
    first, second = (lay(queue) for _ in range(2))
    queue.call()
    assert queue.wait(second, 0.01) == []
    assert queue.wait(first, 10) == [CALLED]
    queue.call()
    queue.answer({first: "done"})
    # Whoever leads already has been called, and asks for an answer only.
    assert queue.wait(first, 0) == ["done"]


def test_what_is_withdrawn_is_not_found(queue: ReadyBatches) -> None:
    entry = lay(queue)
    queue.withdraw(entry)
    queue.withdraw(entry)
    assert queue.entries(9) == {}


def test_nothing_stays_in_redis_for_ever(
    queue: ReadyBatches, connection: redis.Redis
) -> None:
    first, second, _ = (lay(queue) for _ in range(3))
    queue.answer({first: "answer"})
    queue.set_aside({second: "why"})
    queue.call()
    keys = list(connection.scan_iter("cvmfs-webhook:*"))
    assert len(keys) == 4
    assert all(connection.ttl(key) > 0 for key in keys)


def test_any_bytes_are_taken_out_and_noted(
    queue: ReadyBatches, connection: redis.Redis
) -> None:
    entries = f"cvmfs-webhook:ready:{FQRN}"
    strange = {b"": b"", b"\xff\xfe": b"\x00\xff", b"0\n1": b"x" * (5 << 20)}
    for strange_id, text in strange.items():
        connection.hset(entries, strange_id, text)
    good = lay(queue)
    found = queue.entries(9)
    assert [found.pop(good), len(found)] == ["entry", 3]
    # What is larger than any of ours is not even fetched.
    assert max(map(len, found.values())) == 2
    for entry_id in found:
        queue.wait(entry_id, 0)
    queue.call()
    queue.set_aside(dict.fromkeys(found, "nobody may"))
    assert list(queue.entries(9)) == [good]
    assert count_set_aside(connection, FQRN) == 3
    queue.set_aside({str(number): "why" * 999 for number in range(200)})
    assert count_set_aside(connection, FQRN) == 100
    kept = connection.lrange(f"cvmfs-webhook:set-aside:{FQRN}", 0, -1)
    assert max(map(len, kept)) < 1000


@pytest.mark.parametrize("place", ["ready", "set-aside"])
def test_a_key_of_another_type_does_not_keep_the_queue_away(
    queue: ReadyBatches, connection: redis.Redis, place: str
) -> None:
    connection.set(f"cvmfs-webhook:{place}:{FQRN}", b"\xff")
    assert queue.entries(10) == {}
    assert count_set_aside(connection, FQRN) == 0
    entry_id = lay(queue)
    assert list(queue.entries(10)) == [entry_id]
    queue.set_aside({entry_id: "why"})
    assert count_set_aside(connection, FQRN) == 1


def test_an_entry_that_others_would_not_read_is_not_laid_down(
    queue: ReadyBatches,
) -> None:
    with pytest.raises(QueueAway, match="too many for the queue"):
        lay(queue, "x" * (5 << 20))
    assert queue.entries(9) == {}


def test_a_fence_names_the_reference_of_its_run(queue: ReadyBatches) -> None:
    assert queue.reference('["image", "token"]') == "image"


@pytest.mark.parametrize(
    "token", ["", "[]", "{}", "null", "\udcff", '["image"]', "[1, 2]"]
)
def test_what_is_no_fence_is_said_to_be_none(queue: ReadyBatches, token: str) -> None:
    with pytest.raises(UnknownFence):
        queue.reference(token)
    with pytest.raises(UnknownFence):
        queue.standing([token])


def test_a_fence_holds_as_long_as_its_run_may_publish(
    queue: ReadyBatches, ledger: Ledger
) -> None:
    runs = [begin(ledger, name) for name in ("kept", "lost", "overtaken")]
    tokens = list(map(fence_token, runs))
    assert queue.standing([]) == []
    assert queue.standing(tokens) == [True, True, True]
    ledger.abandon("lost", worker="worker", how="killed")
    ledger.request("overtaken", source="test", forced=True)
    assert queue.standing(tokens) == [True, False, False]
    assert queue.standing(tokens[:0:-1]) == [False, False]
    # Nobody else's run is meant.
    begin(ledger, "lost")
    assert queue.standing(tokens) == [True, False, False]


def test_a_run_that_must_not_be_stopped_any_more_may_publish(
    queue: ReadyBatches, ledger: Ledger
) -> None:
    for stops, may_publish in enumerate([False, False, True]):
        run = begin(ledger, "image")
        assert run.overtaken == stops
        ledger.request("image", source="test", forced=True)
        assert queue.standing([fence_token(run)]) == [may_publish]
        assert ledger.is_overtaken(run) is not may_publish
        ledger.finish(run, RunResult(Outcome.SUPERSEDED))


def test_a_fence_that_is_asked_for_holds_for_some_seconds_and_no_longer(
    queue: ReadyBatches, ledger: Ledger, clock: StoppedClock
) -> None:
    run = begin(ledger, "image")
    clock.passes(51)
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
            lambda: queue.add("id", "entry"),
            lambda: queue.entries(9),
            lambda: queue.set_aside({"id": "why"}),
            lambda: count_set_aside(connection, FQRN),
            lambda: queue.answer({"id": "answer"}),
            queue.call,
            lambda: queue.wait("id", 0),
            lambda: queue.wait("id", 0.01),
            lambda: queue.withdraw("id"),
            lambda: queue.standing(['["image", "token", 1, 0]']),
        ):
            with pytest.raises(QueueAway, match="the queue server does not work"):
                call()
