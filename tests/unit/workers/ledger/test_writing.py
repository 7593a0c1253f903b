"""What comes from outside stays inside its field."""

from collections.abc import Iterator
from typing import cast

import pytest

from tests.support.harness.ledger import D1, REFERENCE, LedgerDriver
from tests.support.harness.redis_server import Flavour, RedisServer
from workers.ledger import (
    Delivery,
    Hint,
    Outcome,
    RunResult,
    Verdict,
    Wanted,
)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("queue")
    with RedisServer(folder, cast("Flavour", request.param)) as running:
        yield running


def test_what_a_sender_writes_breaks_out_of_nothing(driver: LedgerDriver) -> None:
    nasty = 'x\n"},\ud800\x1b[2J\0 ' + "a" * 10_000
    hint = Hint(D1, "hub", event_id=nasty, actor=nasty)
    wanted = Wanted(REFERENCE, Verdict.QUEUED, nasty, hint, unique_id=nasty)
    delivered = Delivery("d", "hub", driver.clock())
    accepted = driver.ledger.accept(delivered, [wanted, wanted])
    assert [one.verdict for one in accepted] == [Verdict.QUEUED, Verdict.DUPLICATE]
    delivery = driver.ledger.delivery("d")
    assert delivery is not None
    event = delivery.events[0]
    assert event.actor is not None
    assert len(event.actor) <= 256
    assert event.reason.isprintable()
    lease = driver.begin()
    driver.ledger.finish(lease, RunResult(Outcome.FAILED, reason=nasty))
    reason = driver.image().reason
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) <= 2000
    assert driver.ledger.runs(REFERENCE)[0].reason == reason
