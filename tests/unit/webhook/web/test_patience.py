"""A request waits for Redis for a time, all in all, whatever it asks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask

from tests.support.harness.failing_over import run_pair
from tests.support.harness.ledger import StoppedClock
from tests.support.harness.notifications import event
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import WebApp, create_web_app, write_config
from tests.support.tools.waiting import wait_until
from webhook.web import patience
from workers.jobqueue.allowance import present_allowance

EVENTS = "application/vnd.docker.distribution.events.v1+json"


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


def send(web: WebApp) -> int:
    return web.client.post(
        "/hooks/local",
        json={"events": [event()]},
        headers={"Authorization": "Bearer s3cret"},
        content_type=EVENTS,
    ).status_code


@pytest.mark.slow
def test_a_notification_at_a_frozen_redis_is_answered_in_time_and_kept_later(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "REQUEST_SECONDS", 0.3)
    with create_web_app(write_config(tmp_path, redis_server)) as web:
        assert send(web) == 202
        redis_server.freeze()
        try:
            # In turn, as behind one lock.
            assert [send(web) for _ in range(5)] == [503] * 5
        finally:
            redis_server.thaw()
        monkeypatch.setattr(patience, "REQUEST_SECONDS", 30)
        # What was wrong is remembered for a moment, lest everybody asks.
        # A frozen server may have kept what was sent again, too: a duplicate then.
        wait_until(lambda: send(web) in {200, 202}, "it is kept again")
    assert present_allowance() is None


def test_after_a_failover_that_keeps_connections_notifications_are_kept(
    tmp_path: Path,
) -> None:
    with run_pair(tmp_path) as pair:
        path = write_config(tmp_path, pair.first)
        path.write_text(path.read_text().replace(pair.first.url, pair.url))
        with create_web_app(path) as web:
            assert web.client.get("/readyz").status_code == 200
            assert send(web) == 202
            pair.fail_over()
            assert send(web) == 200  # the same event: the record moved, too
            assert web.client.get("/readyz").status_code == 200


@dataclass
class Asking:
    """An application whose page asks as long as it may, and time that stands still."""

    app: Flask = field(default_factory=lambda: Flask("asking"))
    clock: StoppedClock = field(default_factory=lambda: StoppedClock(1000.0))
    is_silent: bool = True

    def __post_init__(self) -> None:
        self.app.add_url_rule("/<name>", "ask", self._ask)
        patience.init_app(self.app)

    def _ask(self, name: str) -> str:
        allowance = present_allowance()
        assert allowance
        left = allowance.left
        if self.is_silent:
            with allowance.spent():
                self.clock.passes(left)
        return f"{name} {left}"

    def seconds(self, name: str = "page") -> float:
        return float(self.app.test_client().get(f"/{name}").text.split()[1])


def test_behind_one_that_waited_in_vain_nobody_waits_as_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = Asking()
    monkeypatch.setattr("webhook.web.patience.time.monotonic", asking.clock)
    assert asking.seconds() == patience.REQUEST_SECONDS
    for _ in range(20):
        assert asking.seconds() < 0.2
    asking.is_silent = False
    assert asking.seconds() < 0.2
    asking.clock.passes(2)
    assert asking.seconds() == patience.REQUEST_SECONDS


def test_a_probe_gives_up_within_a_second_and_takes_nothing_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = Asking()
    monkeypatch.setattr("webhook.web.patience.time.monotonic", asking.clock)
    assert asking.seconds("readyz") < 1
    assert asking.seconds() == patience.REQUEST_SECONDS
    assert 0.5 < asking.seconds("readyz") < 1
