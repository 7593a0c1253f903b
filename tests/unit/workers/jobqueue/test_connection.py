"""Where the queue's server is, and how long one waits for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.support.harness.redis_server import RedisServer
from workers.config import Config, QueueConfig, Secret
from workers.jobqueue.connection import NoQueue, connect, connect_url, queue_url
from workers.jobqueue.embedded_server import EmbeddedServer, free_port


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path)
    yield server
    server.close()


def test_the_url_is_the_configurations_or_the_embedded_servers(
    tmp_path: Path, embedded: EmbeddedServer
) -> None:
    config = Config(state=tmp_path)
    with pytest.raises(NoQueue, match=r"queue\.url"):
        queue_url(config)
    embedded.configure()
    assert queue_url(config) == embedded.url
    url = "redis://:secret@redis.example.org:6379/1"
    other = replace(config, queue=QueueConfig(url=Secret(url)))
    assert queue_url(other) == url
    assert "secret" not in repr(other)


def test_a_client_waits_a_while_for_a_server_that_restarts(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, connect(server.config()) as connection:
        connection.set("kept", "yes")
        server.kill()
        with ThreadPoolExecutor() as threads:
            answer = threads.submit(connection.get, "kept")
            server.start()
            assert answer.result() == b"yes"


def test_a_client_gives_up_on_a_server_that_is_not_there() -> None:
    with (
        connect_url(f"redis://127.0.0.1:{free_port()}", patience_seconds=0.1) as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()
