"""A tree is exported as one file, which is whole or not there at all."""

import os
import shutil
import tarfile
from pathlib import Path
from threading import Thread

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from workers.archives.outcome import ExportFailed
from workers.cvmfs import NotFound
from workers.exporting.destination import STANDARD_OUTPUT
from workers.exporting.one_file import export_squashfs, export_tar

LARGE = [[tars.file(b"large", os.urandom(1 << 20)), tars.file(b"small", b"small")]]


def test_a_tar_appears_under_its_name_when_it_is_whole(
    runner: JobRunner, tmp_path: Path
) -> None:
    published(runner, LARGE)
    snapshot = runner.repository.read()
    target = tmp_path / "out" / "image.tar"
    there = []
    top = found(runner).root(snapshot)
    export_tar(snapshot, top, target, lambda _: there.append(target.exists()))
    assert not any(there)
    assert list(target.parent.iterdir()) == [target]
    with tarfile.open(target) as archive:
        assert {"large", "small"} <= set(archive.getnames())


def test_of_a_tree_that_cannot_be_read_nothing_is_left(
    runner: JobRunner, tmp_path: Path
) -> None:
    published(runner, LARGE)
    snapshot = runner.repository.read()
    top = found(runner).root(snapshot)
    for stored in (runner.config.parent / "cvmfs" / "data").glob("??/*"):
        if stored.stat().st_size > 1 << 19:
            stored.unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(NotFound):
        export_tar(snapshot, top, tmp_path / "out" / "image.tar")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_pipe_that_closes_early_ends_the_export_with_one_error_of_ours(
    runner: JobRunner, tmp_path: Path
) -> None:
    published(runner, LARGE)
    snapshot = runner.repository.read()
    top = found(runner).root(snapshot)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read_a_little() -> None:
        with pipe.open("rb", buffering=0) as file:
            file.read(100)

    reader = Thread(target=read_a_little)
    reader.start()
    with pytest.raises(ExportFailed, match="Broken pipe"):
        export_tar(snapshot, top, pipe)
    reader.join()
    assert pipe.is_fifo()


def test_a_pipe_has_the_whole_tar(runner: JobRunner, tmp_path: Path) -> None:
    published(runner, LARGE)
    snapshot = runner.repository.read()
    top = found(runner).root(snapshot)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    came: list[bytes] = []
    reader = Thread(target=lambda: came.append(pipe.read_bytes()))
    reader.start()
    export_tar(snapshot, top, pipe)
    reader.join()
    export_tar(snapshot, top, tmp_path / "image.tar")
    assert came == [(tmp_path / "image.tar").read_bytes()]


@pytest.mark.skipif(not shutil.which("mksquashfs"), reason="mksquashfs is not there")
def test_a_squashfs_goes_into_a_file_only(runner: JobRunner, tmp_path: Path) -> None:
    published(runner, LARGE)
    snapshot = runner.repository.read()
    top = found(runner).root(snapshot)
    os.mkfifo(tmp_path / "pipe")
    for target in (STANDARD_OUTPUT, tmp_path / "pipe", tmp_path):
        with pytest.raises(ExportFailed, match="needs a file"):
            export_squashfs(snapshot, top, target)
