"""An operator, for the commands that keep a repository in order."""

from pathlib import Path

import pytest

from tests.support.harness.operator import Operator


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)
