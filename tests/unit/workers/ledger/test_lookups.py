"""What the ledger lists, counts and finds."""

from collections.abc import Iterator
from typing import cast

import pytest

from tests.support.harness.ledger import D1, REFERENCE, LedgerDriver
from tests.support.harness.redis_server import Flavour, RedisServer
from workers.ledger import (
    State,
)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("queue")
    with RedisServer(folder, cast("Flavour", request.param)) as running:
        yield running


def test_deliveries_are_listed_newest_first(driver: LedgerDriver) -> None:
    for _ in range(3):
        driver.push()
        driver.clock.passes(1)
    assert [d.id for d in driver.ledger.deliveries(2)] == ["d3", "d2"]
    assert driver.ledger.delivery("d9") is None


def test_runs_kept_are_bounded(driver: LedgerDriver) -> None:
    for _ in range(52):
        driver.make_live()
    assert len(driver.ledger.runs(REFERENCE, 100)) == 50


def test_images_are_listed_counted_and_searched_newest_change_first(
    driver: LedgerDriver,
) -> None:
    names = [f"docker.io/atlas/a{i}:1" for i in range(5)]
    for name in names:
        driver.clock.passes(1)
        driver.push(reference=name)
    driver.clock.passes(1)
    driver.refuse("docker.io/evil/b:1")
    page = driver.ledger.images(1, 2)
    assert page.total == 6
    assert [image.reference for image in page.images] == [names[4], names[3]]
    found = driver.ledger.images(search="atlas/a3")
    assert [image.reference for image in found.images] == [names[3]]
    refused = driver.ledger.images(state=State.REFUSED)
    assert [image.reference for image in refused.images] == ["docker.io/evil/b:1"]
    counts = driver.ledger.counts()
    assert set(counts) == set(State)
    assert (counts[State.QUEUED], counts[State.REFUSED]) == (5, 1)
    driver.clock.passes(1)
    driver.begin(reference=names[0])
    assert driver.ledger.counts()[State.RESOLVING] == 1
    assert driver.ledger.images().images[0].reference == names[0]


def test_events_can_be_followed_from_where_one_left_off(driver: LedgerDriver) -> None:
    driver.push()
    (first,) = driver.ledger.events()
    assert (first.reference, first.state) == (REFERENCE, State.QUEUED)
    lease = driver.begin()
    driver.publish(lease, revision=5)
    later = driver.ledger.events(after=first.id)
    assert [event.state for event in later] == [State.RESOLVING, State.LIVE]
    assert (later[1].digest, later[1].revision) == (D1, 5)
    assert driver.ledger.events(after=later[1].id) == []
    assert driver.ledger.events(limit=1) == [later[1]]


def test_an_unknown_reference_has_no_record(driver: LedgerDriver) -> None:
    assert driver.ledger.image(REFERENCE) is None
    assert driver.ledger.runs(REFERENCE) == []
    assert driver.ledger.images().total == 0
    assert driver.ledger.deliveries() == []
