"""What several folders of jobs begin with."""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import ReconcilerDriver


@pytest.fixture
def watch(runner: JobRunner) -> ReconcilerDriver:
    """Look at the registry every quarter of an hour."""
    runner.allow(watch="{every: 15m}")
    return ReconcilerDriver(runner)
