"""Each case is published by real jobs: registry, Redis, a native repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.jobs import Workshop, workshop_on
from tests.support.redis import RedisServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def shop(server: RedisServer, tmp_path: Path) -> Iterator[Workshop]:
    with workshop_on(server, tmp_path) as opened:
        yield opened
