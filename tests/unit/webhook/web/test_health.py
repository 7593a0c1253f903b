"""Whether the receiver lives, and whether it can take notifications."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    WebApp,
    create_web_app,
    write_config,
)
from tests.support.tools.waiting import wait_until
from webhook.web import patience


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


def refuse_for_want_of_memory(connection: redis.Redis) -> None:
    connection.config_set("maxmemory", 1)


def refuse_for_want_of_replicas(connection: redis.Redis) -> None:
    connection.config_set("min-replicas-to-write", 1)


def refuse_for_a_failed_save(connection: redis.Redis) -> None:
    folder = Path(str(connection.config_get("dir")["dir"])) / "dump.rdb"
    folder.mkdir(exist_ok=True)  # where no file can be put
    connection.config_set("save", "3600 1")
    with suppress(redis.ResponseError):
        connection.bgsave()
    wait_until(
        lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err",
        "the save fails",
    )


@pytest.mark.parametrize(
    ("refuse", "told"),
    [
        (refuse_for_want_of_memory, "maxmemory"),
        (refuse_for_want_of_replicas, "min-replicas-to-write"),
        (refuse_for_a_failed_save, "cannot save its data"),
    ],
)
@pytest.mark.parametrize("durability", ["strict", "trusted"])
def test_it_is_not_ready_when_a_write_would_be_refused(
    tmp_path: Path,
    redis_server: RedisServer,
    refuse: Callable[[redis.Redis], None],
    told: str,
    durability: str,
) -> None:
    path = write_config(tmp_path, redis_server)
    text = path.read_text().replace("queue: {", f"queue: {{durability: {durability}, ")
    path.write_text(text)
    with create_web_app(path) as web:
        assert web.client.get("/readyz").status_code == 200
        refuse(web.connection)
        answer = web.client.get("/readyz")
        assert answer.status_code == 503
        assert told in answer.get_json()["checks"]["redis"]
        assert "127.0.0.1" not in answer.text
        with web.connection.pipeline(transaction=False) as pipeline:
            pipeline.config_set("maxmemory", 0)
            pipeline.config_set("min-replicas-to-write", 0)
            pipeline.config_set("save", "")
            pipeline.config_set("stop-writes-on-bgsave-error", "no")
            pipeline.execute()
        assert web.client.get("/readyz").status_code == 200


def test_it_is_not_ready_with_a_wrong_password(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    path = write_config(tmp_path, redis_server)
    with redis_server.client() as connection:
        connection.config_set("requirepass", "hunter2")
        with create_web_app(path) as web:
            answer = web.client.get("/readyz")
            assert answer.status_code == 503
            assert "password" in answer.get_json()["checks"]["redis"]


@pytest.mark.slow
def test_a_frozen_redis_is_told_within_a_second_and_stops_no_answer(
    web: WebApp, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "REQUEST_SECONDS", 0.3)
    redis_server.freeze()
    try:
        began = time.monotonic()
        assert web.client.get("/healthz").status_code == 200
        answer = web.client.get("/readyz")
        assert time.monotonic() - began < 5  # of minutes, without a deadline
        assert answer.status_code == 503
        assert answer.get_json()["checks"]["redis"] == "does not answer"
        for path in ("/", "/api/v1/images", "/queue/0/data/queues.json"):
            assert web.client.get(path, headers=OPERATOR).status_code == 503, path
        assert "redis_up 0" in web.client.get("/metrics", headers=OPERATOR).text
        assert time.monotonic() - began < 10
    finally:
        redis_server.thaw()
    assert web.client.get("/readyz").status_code == 200


def test_who_is_missed_is_a_warning_and_no_reason_to_accept_nothing(
    web: WebApp,
) -> None:
    assert web.client.get("/readyz").get_json()["warnings"] == []
    web.driver.push()
    web.driver.clock.passes(600)
    answer = web.client.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.get_json()["checks"].values()) == {"ok"}
    (warning,) = answer.get_json()["warnings"]
    assert "cvmfs-webhook worker" in warning
    assert warning in web.client.get("/").text.replace("&#39;", "'")
    text = web.client.get("/metrics", headers=OPERATOR).text
    assert "worker_missing 1.0" in text
    assert "redis_takes_writes 1.0" in text


def test_a_policy_that_broke_is_told_and_turns_no_notification_away(
    web: WebApp,
) -> None:
    assert web.client.get("/readyz").status_code == 200
    web.policy_path.write_text("rules: [")
    answer = web.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.get_json()["checks"]["policy"] != "ok"
    assert "policy: broken" in answer.get_json()["warnings"][0]


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
