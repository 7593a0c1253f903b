"""A file is there whole or not at all, and for no more than it says."""

import stat
from pathlib import Path

import pytest

from workers.documents.whole_file import write_whole


def test_it_replaces_what_was_there_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "url"
    write_whole(path, "one")
    write_whole(path, "two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_it_is_never_readable_by_more_than_it_says(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "url"
    path.write_text("open to all")
    path.chmod(0o666)
    write_whole(path, "secret", mode=mode)
    assert stat.S_IMODE(path.stat().st_mode) & ~mode == 0


def test_what_a_killed_writer_left_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.with_name("url.new").write_text("half")
    write_whole(path, "whole")
    assert path.read_text() == "whole"
