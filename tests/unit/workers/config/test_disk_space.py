import dataclasses
import os
from pathlib import Path

import pytest

from workers.config import Config, RepositoryConfig
from workers.config.disk_space import (
    STATE,
    USUAL_FLOOR_BYTES,
    DiskSpace,
    disks,
    free_bytes,
    repository_disk,
    shown_size,
    why_work_waits,
)

ALL = 1 << 62
ONE, TWO = "one.example.org", "two.example.org"


def config(folder: Path, **settings: object) -> Config:
    repositories = {
        fqrn: RepositoryConfig(fqrn, f"file://{folder}") for fqrn in (ONE, TWO)
    }
    made = Config(state=folder, repositories=repositories)
    return replaced(made, **settings)


def replaced(made: Config, **settings: object) -> Config:
    return dataclasses.replace(made, **settings)  # type: ignore[arg-type]


def test_each_repository_in_a_folder_and_the_state_have_a_disk(tmp_path: Path) -> None:
    found = disks(config(tmp_path))
    assert [disk.name for disk in found] == [ONE, TWO, STATE]
    status = os.statvfs(tmp_path)
    usual = min(USUAL_FLOOR_BYTES, status.f_blocks * status.f_frsize // 20)
    assert {disk.floor for disk in found} == {usual}


def test_what_is_elsewhere_has_none(tmp_path: Path) -> None:
    made = replaced(
        config(tmp_path / "absent"),
        repositories={ONE: RepositoryConfig(ONE, "s3://bucket/prefix")},
    )
    assert repository_disk(made, ONE) is None
    assert disks(made) == []
    assert why_work_waits(made) is None
    assert free_bytes(tmp_path / "absent") is None


def test_work_goes_on_above_the_floor(tmp_path: Path) -> None:
    assert why_work_waits(config(tmp_path, disk_floor=0)) is None


def test_work_waits_below_the_floor_and_says_what_helps(tmp_path: Path) -> None:
    made = config(tmp_path, disk_floor=ALL)
    why = why_work_waits(made)
    assert why is not None
    assert "the state folder" in why
    elsewhere = replaced(made, state=tmp_path / "absent")
    why = why_work_waits(elsewhere)
    assert why is not None
    assert f"repository gc {ONE}" in why
    assert str(tmp_path) not in why


def test_one_repository_with_room_keeps_work_going(tmp_path: Path) -> None:
    made = config(tmp_path, disk_floor=ALL, state=tmp_path / "absent")
    bucket = RepositoryConfig(TWO, "s3://bucket/prefix")
    made = replaced(made, repositories={**made.repositories, TWO: bucket})
    assert why_work_waits(made) is None


def test_a_disk_with_room_is_no_news() -> None:
    assert DiskSpace(ONE, Path(), 2, 2).warning() is None
    warning = DiskSpace(ONE, Path(), 1 << 20, 1 << 30).warning()
    assert warning is not None
    assert "1 MiB free" in warning
    assert "1 GiB" in warning


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1536, "1.5 KiB"), (1 << 30, "1 GiB"), (1 << 50, "1024 TiB")],
)
def test_sizes_are_as_people_read_them(size: int, text: str) -> None:
    assert shown_size(size) == text
