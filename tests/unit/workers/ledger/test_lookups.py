"""What the ledger lists, counts and finds."""

from collections.abc import Iterator
from typing import cast

import pytest

from tests.support.harness.ledger import D1, REFERENCE, Bench, bench_on
from tests.support.harness.redis_server import Flavour, RedisServer
from workers.ledger import (
    State,
)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("queue")
    with RedisServer(folder, cast("Flavour", request.param)) as running:
        yield running


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with bench_on(server) as made:
        yield made


def test_deliveries_are_listed_newest_first(bench: Bench) -> None:
    for _ in range(3):
        bench.push()
        bench.clock.passes(1)
    assert [d.id for d in bench.ledger.deliveries(2)] == ["d3", "d2"]
    assert bench.ledger.delivery("d9") is None


def test_runs_kept_are_bounded(bench: Bench) -> None:
    for _ in range(52):
        bench.make_live()
    assert len(bench.ledger.runs(REFERENCE, 100)) == 50


def test_images_are_listed_counted_and_searched_newest_change_first(
    bench: Bench,
) -> None:
    names = [f"docker.io/atlas/a{i}:1" for i in range(5)]
    for name in names:
        bench.clock.passes(1)
        bench.push(reference=name)
    bench.clock.passes(1)
    bench.refuse("docker.io/evil/b:1")
    page = bench.ledger.images(1, 2)
    assert page.total == 6
    assert [image.reference for image in page.images] == [names[4], names[3]]
    found = bench.ledger.images(search="atlas/a3")
    assert [image.reference for image in found.images] == [names[3]]
    refused = bench.ledger.images(state=State.REFUSED)
    assert [image.reference for image in refused.images] == ["docker.io/evil/b:1"]
    counts = bench.ledger.counts()
    assert set(counts) == set(State)
    assert (counts[State.QUEUED], counts[State.REFUSED]) == (5, 1)
    bench.clock.passes(1)
    bench.begin(reference=names[0])
    assert bench.ledger.counts()[State.RESOLVING] == 1
    assert bench.ledger.images().images[0].reference == names[0]


def test_events_can_be_followed_from_where_one_left_off(bench: Bench) -> None:
    bench.push()
    (first,) = bench.ledger.events()
    assert (first.reference, first.state) == (REFERENCE, State.QUEUED)
    lease = bench.begin()
    bench.publish(lease, revision=5)
    later = bench.ledger.events(after=first.id)
    assert [event.state for event in later] == [State.RESOLVING, State.LIVE]
    assert (later[1].digest, later[1].revision) == (D1, 5)
    assert bench.ledger.events(after=later[1].id) == []
    assert bench.ledger.events(limit=1) == [later[1]]


def test_an_unknown_reference_has_no_record(bench: Bench) -> None:
    assert bench.ledger.image(REFERENCE) is None
    assert bench.ledger.runs(REFERENCE) == []
    assert bench.ledger.images().total == 0
    assert bench.ledger.deliveries() == []
