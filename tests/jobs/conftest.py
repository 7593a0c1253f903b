"""What several folders of jobs begin with."""

import pytest

from tests.support.harness.jobs import Workshop
from tests.support.harness.reconciler import ReconcilerDriver


@pytest.fixture
def watch(shop: Workshop) -> ReconcilerDriver:
    """Look at the registry every quarter of an hour."""
    shop.allow(watch="{every: 15m}")
    return ReconcilerDriver(shop)
