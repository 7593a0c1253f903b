"""Who had a file open for writing is noticed, whatever the file is called by then."""

from pathlib import Path

import pytest

from workers.cvmfs.storage.file_watch import FileWatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flag"
    path.write_bytes(b"ours")
    return path


def test_a_file_that_nobody_writes_to_was_not_written(path: Path) -> None:
    with FileWatch(path) as watch:
        assert path.read_bytes() == b"ours"
        path.stat()
        assert not watch.was_written()


def test_who_opens_it_for_writing_is_noticed_though_nothing_was_written(
    path: Path,
) -> None:
    with FileWatch(path) as watch:
        path.open("ab").close()
        assert watch.was_written()


def test_it_is_followed_to_its_other_name(path: Path) -> None:
    with FileWatch(path) as watch:
        moved = path.rename(path.with_name("moved"))
        path.write_bytes(b"another file of the first name")
        assert not watch.was_written()
        moved.open("ab").close()
        assert watch.was_written()


def test_what_was_written_once_stays_written(path: Path) -> None:
    with FileWatch(path) as watch:
        path.open("ab").close()
        assert watch.was_written()
        assert watch.was_written()


def test_what_happened_before_the_watch_does_not_count(path: Path) -> None:
    path.open("ab").close()
    with FileWatch(path) as watch:
        assert not watch.was_written()


def test_a_file_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FileWatch(tmp_path / "nowhere")
