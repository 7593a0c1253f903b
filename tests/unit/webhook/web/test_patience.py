"""A request waits for Redis for a time, all in all, whatever it asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.notifications import event
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import create_web_app, write_config
from tests.support.tools.waiting import wait_until
from webhook.web import patience
from workers.jobqueue.allowance import present_allowance

EVENTS = "application/vnd.docker.distribution.events.v1+json"


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.mark.slow
def test_a_notification_at_a_frozen_redis_is_answered_in_time_and_kept_later(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "REQUEST_SECONDS", 0.3)
    with create_web_app(write_config(tmp_path, redis_server)) as web:

        def send() -> int:
            return web.client.post(
                "/hooks/local",
                json={"events": [event()]},
                headers={"Authorization": "Bearer s3cret"},
                content_type=EVENTS,
            ).status_code

        assert send() == 202
        redis_server.freeze()
        try:
            # In turn, as behind one lock.
            assert [send() for _ in range(5)] == [503] * 5
        finally:
            redis_server.thaw()
        monkeypatch.setattr(patience, "REQUEST_SECONDS", 30)
        # What was wrong is remembered for a moment, lest everybody asks.
        # A frozen server may have kept what was sent again, too: a duplicate then.
        wait_until(lambda: send() in {200, 202}, "it is kept again")
    assert present_allowance() is None
