"""A sound repository for each test, to be damaged."""

import pytest

from tests.support.damage.editable_repository import Workbench, sound


@pytest.fixture
def bench() -> Workbench:
    return sound()
