"""Jobs in a folder of their own, so that the test's is empty."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import Workshop, workshop_on
from tests.support.harness.redis_server import RedisServer


@pytest.fixture
def shop(server: RedisServer, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with workshop_on(server, folder) as opened:
        yield opened
