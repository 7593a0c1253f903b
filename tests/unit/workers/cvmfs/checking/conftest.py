"""A sound repository for each test, to be damaged."""

import pytest

from tests.support.damage.editable_repository import (
    EditableRepository,
    sound_repository,
)


@pytest.fixture
def bench() -> EditableRepository:
    return sound_repository()
