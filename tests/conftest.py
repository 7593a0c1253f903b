"""Where a test lies says what it needs, and is its marker.

unit: one module or its room, with values, ``tmp_path``, fakes in this process and a
Redis of the session; no job, no process of ours.
contracts: what every implementation of a Protocol keeps; needs what unit needs, and for
formats a job in this process, with a registry on loopback and the session's Redis.
jobs: a job or a command of the operator, run through in this process.
service: processes of ours, started, killed and asked over sockets; a real browser.
consumers: programs of others, mostly as root: umoci, podman, the kernel's overlayfs.
compat: the real CVMFS client and ``cvmfs_server``.

Hypothesis searches the same in every run. HYPOTHESIS_PROFILE=quick, of ``make check``,
tries the first few of these examples; deep tries many more, other ones each time.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.ledger import LedgerDriver, open_ledger_driver
from tests.support.harness.redis_server import Flavour, RedisServer
from tests.support.harness.web_app import WebApp, open_web_app

HERE = Path(__file__).parent
FOLDERS = ("unit", "contracts", "jobs", "service", "consumers", "compat")

# No test may fail because of a time.
settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("fixed"), max_examples=15)
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=5000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        assert folder in FOLDERS, f"{item.path} lies in no folder that says its needs"
        item.add_marker(folder)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis for many tests; each harness empties it."""
    flavour: Flavour = "redis" if shutil.which("redis-server") else "valkey"
    with RedisServer(tmp_path_factory.mktemp("redis"), flavour) as running:
        yield running


@pytest.fixture
def driver(redis_server: RedisServer) -> Iterator[LedgerDriver]:
    """Give an empty ledger, at which time stands still."""
    with open_ledger_driver(redis_server) as opened:
        yield opened


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    """Run jobs with real parts: registry, Redis, a native repository."""
    with open_job_runner(redis_server, tmp_path) as opened:
        yield opened


@pytest.fixture
def web(redis_server: RedisServer, tmp_path: Path) -> Iterator[WebApp]:
    """Send requests to the pages and the API, over a real ledger."""
    with open_web_app(redis_server, tmp_path) as made:
        yield made
