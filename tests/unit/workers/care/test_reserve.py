import os
from pathlib import Path

import pytest

from workers.care.reserve import (
    is_hardly_any_room,
    keep_reserves,
    released_reserve,
)
from workers.config import Config, RepositoryConfig
from workers.cvmfs import LocalStorage
from workers.cvmfs.storage.storage import RESERVE

FQRN = "unpacked.example.org"


def repository_at(folder: Path) -> RepositoryConfig:
    LocalStorage(folder).prepare()
    return RepositoryConfig(FQRN, folder.as_uri())


def keep(repository: RepositoryConfig) -> None:
    keep_reserves(Config(repositories={FQRN: repository}))


def test_a_reserve_is_kept_once(tmp_path: Path) -> None:
    repository = repository_at(tmp_path)
    keep(repository)
    inode = (tmp_path / RESERVE).stat().st_ino
    keep(repository)
    status = (tmp_path / RESERVE).stat()
    assert status.st_ino == inode
    assert status.st_blocks * 512 >= status.st_size > 0
    assert [path.name for path in (tmp_path / "data/txn").iterdir()] == ["reserve"]


def test_where_there_is_room_it_stays(tmp_path: Path) -> None:
    repository = repository_at(tmp_path)
    keep(repository)
    with released_reserve(repository):
        assert (tmp_path / RESERVE).exists()
    assert not is_hardly_any_room(repository)


def test_where_there_is_none_it_goes_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_at(tmp_path)
    keep(repository)
    room = os.statvfs(tmp_path)
    full = os.statvfs_result((*room[:4], 0, *room[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with released_reserve(repository):
        assert not (tmp_path / RESERVE).exists()
        monkeypatch.undo()
    assert (tmp_path / RESERVE).exists()


def test_a_bucket_needs_none(tmp_path: Path) -> None:
    repository = RepositoryConfig(FQRN, "s3://bucket/prefix")
    keep(repository)
    assert not is_hardly_any_room(repository)
    with released_reserve(repository):
        pass
