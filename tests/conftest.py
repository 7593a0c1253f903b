"""How hypothesis searches, and where jobs are run.

Hypothesis searches the same in every run; HYPOTHESIS_PROFILE=deep tries many more
examples, other ones each time.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.harness.jobs import Workshop, workshop_on
from tests.support.harness.redis_server import RedisServer

# No test may fail because of a time.
settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=5000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis for many tests; each workshop empties it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def shop(server: RedisServer, tmp_path: Path) -> Iterator[Workshop]:
    """Run jobs with real parts: registry, Redis, a native repository."""
    with workshop_on(server, tmp_path) as opened:
        yield opened
