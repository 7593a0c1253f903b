"""Paths have one form only."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    new_repository,
)
from workers.cvmfs.errors import InvalidPath


@pytest.mark.parametrize("path", [b"x", b"/", b"//x", b"/x/", b"/x/../y", b"/./x"])
def test_paths_have_one_form_only(tmp_path: Path, path: bytes) -> None:
    snapshot = new_repository(tmp_path).read()
    for read in (snapshot.lookup, snapshot.listdir, snapshot.resolve, snapshot.tree):
        with pytest.raises(InvalidPath):
            read(path)
