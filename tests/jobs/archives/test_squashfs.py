"""A tree becomes a squashfs file, the same bytes each time."""

import resource
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.tools.programs import require_program
from workers.archives.squashfs import ProgramMissing, SquashFailed
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


def test_the_program_may_take_more_memory_than_the_job(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(runner, [[tars.file(b"a", b"1")]])
    snapshot, image = runner.repository.read(), found(runner)
    program = tmp_path / "mksquashfs"
    program.write_text("#!/bin/sh\ncat > /dev/null; ulimit -S -d >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, hard))
    try:
        with pytest.raises(SquashFailed, match="unlimited"):
            export_squashfs(snapshot, image.root(snapshot), tmp_path / "image.sqfs")
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
