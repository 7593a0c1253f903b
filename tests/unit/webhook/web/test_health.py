"""Whether the receiver lives, and whether it can take notifications."""

from collections.abc import Iterator

import pytest

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import WebApp


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


def test_a_process_that_answers_is_healthy_whatever_else_is_not(
    web: WebApp, redis_server: RedisServer
) -> None:
    assert web.client.get("/healthz").get_json() == {"status": "ok"}
    redis_server.kill()
    assert web.client.get("/healthz").status_code == 200


def test_it_is_ready_when_all_is_well(web: WebApp) -> None:
    answer = web.client.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.get_json()["checks"].values()) == {"ok"}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.slow
def test_it_is_not_ready_without_redis_and_ready_again_with_it(
    web: WebApp, redis_server: RedisServer
) -> None:
    redis_server.kill()
    answer = web.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["redis"] != "ok"
    assert answer.get_json()["checks"]["policy"] == "ok"
    redis_server.start()
    assert web.client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "allkeys-lru"),
    ],
)
def test_it_is_not_ready_when_redis_may_forget(
    web: WebApp, setting: str, value: str
) -> None:
    web.driver.connection.config_set(setting, value)
    answer = web.client.get("/readyz")
    assert answer.status_code == 503
    assert setting in answer.get_json()["checks"]["durability"]


def test_a_policy_that_broke_is_told_and_turns_no_notification_away(
    web: WebApp,
) -> None:
    assert web.client.get("/readyz").status_code == 200
    web.policy_path.write_text("rules: [")
    answer = web.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.get_json()["checks"]["policy"] != "ok"


def test_without_any_policy_it_is_not_ready(web: WebApp) -> None:
    web.policy_path.unlink()
    answer = web.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["policy"] != "ok"


@pytest.mark.slow
def test_whoever_probes_learns_no_address_and_no_path(
    web: WebApp, redis_server: RedisServer
) -> None:
    web.policy_path.write_text("rules: [{permit: secret/name}]")
    redis_server.kill()
    text = web.client.get("/readyz").text
    assert "127.0.0.1" not in text
    assert str(web.policy_path) not in text
    assert "secret/name" not in text
