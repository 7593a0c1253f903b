"""A tree becomes a squashfs file, the same bytes each time."""

from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.tools.programs import require_program
from workers.archives.squashfs import ProgramMissing
from workers.exporting import export_squashfs


def test_a_squashfs_is_the_same_bytes_each_time(
    runner: JobRunner, tmp_path: Path
) -> None:
    require_program("mksquashfs")
    published(runner, HARD_CASES["attributes"])
    snapshot, image = runner.repository.read(), found(runner)
    for name in ("one", "two"):
        export_squashfs(snapshot, image.root(snapshot), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_missing_mksquashfs_is_named(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(runner, [[tars.file(b"a", b"1")]])
    snapshot, image = runner.repository.read(), found(runner)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="install squashfs-tools"):
        export_squashfs(snapshot, image.root(snapshot), tmp_path / "image.sqfs")
