"""The spool area of a repository that the stock tools look after, too."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import FQRN


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    spool = tmp_path / "spool" / FQRN
    (spool / "scratch").mkdir(parents=True)
    (spool / "ofs_workdir").mkdir()
    return spool
