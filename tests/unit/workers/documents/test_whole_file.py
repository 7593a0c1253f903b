"""A file is there whole or not at all, and for no more than it says."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.documents.whole_file import make_private_folder, write_whole


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


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


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    write_whole(tmp_path / "file", "text", mode=mode)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.usefixtures("umask")
def test_a_private_folder_is_for_us_whatever_the_umask(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a/b/private")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")
    }
    assert modes == {"a": 0o755, "b": 0o755, "private": 0o700}


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_private_folder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750
