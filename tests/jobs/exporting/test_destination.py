"""What is taken out of a repository is the image, whoever reads it."""

from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from workers.exporting import (
    ExportFailed,
    export_directory,
    export_oci,
    export_tar,
)


def test_nothing_is_overwritten_and_nothing_half_done_is_left(
    runner: JobRunner, tmp_path: Path
) -> None:
    published(runner, [[tars.file(b"a", b"content of a file")]])
    snapshot, image = runner.repository.read(), found(runner)
    root = image.root(snapshot)
    full, there = tmp_path / "full", tmp_path / "there"
    full.mkdir()
    there.write_text("mine")
    (full / "mine").write_text("mine")
    with pytest.raises(ExportFailed, match="not empty"):
        export_directory(snapshot, root, full)
    with pytest.raises(ExportFailed, match="not empty"):
        export_oci(snapshot, image, full)
    with pytest.raises(ExportFailed, match="there already"):
        export_tar(snapshot, root, there)
    for written in (full / "mine", there):
        assert written.read_text() == "mine"

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    for export in (export_tar, export_directory):
        with pytest.raises(KeyboardInterrupt):
            export(snapshot, root, tmp_path / "new", stop)
        assert sorted(tmp_path.iterdir()) == before
