"""A name of a repository is one that a host, a file and a folder can have."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import NOW
from workers.cvmfs import KeyRing
from workers.cvmfs.errors import Malformed


@pytest.mark.parametrize("fqrn", ["", "a/b", "../x", "-a", "a" * 61, "ä", "a b"])
def test_names_that_are_none_never_become_file_names(fqrn: str, tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        KeyRing.load_or_create(fqrn, tmp_path, now=NOW)
