"""Where the queue's server is, and how long one waits for it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.support.harness.redis_server import RedisServer, Scheme
from tests.support.tools.programs import free_port
from workers.config import Config, QueueConfig, Secret, values
from workers.jobqueue.connection import NoQueue, connect, connect_url, queue_url
from workers.jobqueue.embedded_server import EmbeddedServer


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


@pytest.mark.parametrize(
    "folder", ["a b#c?d%41é", "long" * 50, os.fsdecode(b"not-utf-8-\xff")]
)
def test_a_socket_is_reached_whatever_its_folder_is_called(
    tmp_path: Path, folder: str
) -> None:
    with RedisServer(tmp_path / folder, "valkey") as server:
        assert server.url.startswith("unix://:")
        with connect_url(server.url, patience_seconds=0.1) as client:
            assert client.ping()


def test_a_socket_may_be_named_with_database_and_password(tmp_path: Path) -> None:
    settings = ("--unixsocket", "sock", "--requirepass", "p/w@")
    with RedisServer(tmp_path, "redis", *settings, password="p/w@"):
        url = f"unix://:p%2Fw%40@{tmp_path}/sock?db=3"
        config = Config(queue=QueueConfig(url=values.queue_url(url)))
        with connect(config) as client:
            client.set("here", "yes")
        with connect_url(url.replace("db=3", "db=0")) as client:
            assert client.get("here") is None


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_each_kind_of_url_leads_to_its_server(tmp_path: Path, scheme: Scheme) -> None:
    settings = ("--requirepass", "p/w@")
    server = RedisServer(tmp_path, "redis", *settings, password="p/w@", scheme=scheme)
    with server:
        assert server.url.startswith(f"{scheme}://")
        url = values.queue_url(server.url)
        with connect(Config(queue=QueueConfig(url=url))) as client:
            client.set("here", "yes")
            server.restart()
            assert client.get("here") == b"yes"


def test_a_certificate_of_a_stranger_is_not_believed(tmp_path: Path) -> None:
    with RedisServer(tmp_path, scheme="rediss") as server:
        url = server.url.partition("?")[0]
        with (
            connect_url(url, patience_seconds=0) as client,
            pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            client.ping()


def test_what_is_said_of_a_socket_that_is_gone_holds_no_password(
    tmp_path: Path,
) -> None:
    url = f"unix://:hunter2@{tmp_path}/{'long' * 50}/socket"
    with (
        connect_url(url, patience_seconds=0.1) as client,
        pytest.raises(redis.ConnectionError, match=f"{tmp_path}.*No such file") as said,
    ):
        client.ping()
    assert "hunter2" not in str(said.value)
    assert "hunter2" not in repr(client)
