"""Jobs in a folder of their own, so that the test's is empty."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with open_job_runner(redis_server, folder) as opened:
        yield opened
