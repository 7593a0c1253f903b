"""A queue and workers as processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.worker_process import QueueAndWorker


@pytest.fixture
def jobs(redis_server: RedisServer, tmp_path: Path) -> Iterator[QueueAndWorker]:
    with redis_server.client() as connection:
        connection.flushall()
        yield QueueAndWorker(redis_server, connection, tmp_path / "jobs")
