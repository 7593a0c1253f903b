"""The configuration that the design gives as an example."""

from pathlib import Path

import pytest

from tests.support.harness.configuration import CONTRACT, ENVIRON, load
from workers.config import Config


@pytest.fixture
def contract(tmp_path: Path) -> Config:
    (tmp_path / "gitlab").write_text("from-a-file\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/hub").write_text("hub-password\n")
    return load(tmp_path, CONTRACT, **ENVIRON)
