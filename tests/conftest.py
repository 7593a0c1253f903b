"""How hypothesis searches, and what tests of more than one folder stand on.

Hypothesis searches the same in every run; HYPOTHESIS_PROFILE=deep tries many more
examples, other ones each time.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.harness.jobs import Workshop, workshop_on
from tests.support.harness.redis_server import Flavour, RedisServer
from tests.support.harness.web_app import Site, site_on

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
    """Run a Redis for many tests; each harness empties it."""
    flavour: Flavour = "redis" if shutil.which("redis-server") else "valkey"
    with RedisServer(tmp_path_factory.mktemp("redis"), flavour) as running:
        yield running


@pytest.fixture
def shop(server: RedisServer, tmp_path: Path) -> Iterator[Workshop]:
    """Run jobs with real parts: registry, Redis, a native repository."""
    with workshop_on(server, tmp_path) as opened:
        yield opened


@pytest.fixture
def site(server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    """Send requests to the pages and the API, over a real ledger."""
    with site_on(server, tmp_path) as made:
        yield made
