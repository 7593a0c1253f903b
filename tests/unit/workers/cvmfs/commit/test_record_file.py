"""Lists that many jobs change: nobody's records are lost, and no name is two's."""

import json
import time
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import FQRN, keys
from workers.cvmfs import (
    Change,
    EditRecords,
    InvalidChange,
    LocalStorage,
    PutFile,
    Repository,
)

PATH = b"/store/list.json"
NOW = int(time.time())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    storage = LocalStorage(tmp_path)
    return Repository.create(FQRN, storage, keys(), now=NOW)


def edit(*records: object, names: tuple[str, ...] = ()) -> EditRecords:
    return EditRecords(PATH, tuple(map(json.dumps, records)), names)


def commit(repository: Repository, *changes: Change) -> bool:
    return repository.commit(changes, now=NOW).is_new


def listed(repository: Repository) -> object:
    snapshot = repository.read()
    dirent = snapshot.lookup(PATH)
    assert dirent is not None
    return json.loads(snapshot.read(dirent))


def test_nothing_is_written_for_what_is_there(repository: Repository) -> None:
    again = edit({"id": "a", "names": ["x"]}, names=("x", "y"))
    assert commit(repository, again)
    assert not commit(repository, again)
    assert not commit(repository, edit(names=("y",)))


def test_a_name_is_one_records_and_moves(repository: Repository) -> None:
    commit(repository, edit({"id": "a", "names": ["x", "y"]}))
    commit(repository, edit({"id": "b", "names": ["x"]}, names=("x",)))
    assert listed(repository) == [
        {"id": "a", "names": ["y"]},
        {"id": "b", "names": ["x"]},
    ]
    commit(repository, edit({"id": "a", "names": ["z"], "size": 2}))
    assert listed(repository) == [
        {"id": "a", "names": ["y", "z"], "size": 2},
        {"id": "b", "names": ["x"]},
    ]
    # Though nobody said so besides.
    commit(repository, edit({"id": "b", "names": ["x", "y"]}))
    assert listed(repository) == [
        {"id": "a", "names": ["z"], "size": 2},
        {"id": "b", "names": ["x", "y"]},
    ]


def test_a_list_of_others_is_taken_over(repository: Repository) -> None:
    foreign = b'[\n {\n  "id": "a",\n  "names": null\n }\n]'
    commit(repository, PutFile(PATH, repository.sink.put_bytes(foreign)))
    commit(repository, edit({"id": "b", "names": ["x"]}, names=("x",)))
    assert listed(repository) == [
        {"id": "a", "names": None},
        {"id": "b", "names": ["x"]},
    ]


def test_what_others_list_twice_is_listed_once(repository: Repository) -> None:
    foreign = [
        {"id": "a", "names": ["x", "y"]},
        {"id": "b", "names": ["y"]},
        {"id": "c", "size": 1},
        {"id": "c", "size": 2},
    ]
    data = repository.sink.put_bytes(json.dumps(foreign).encode())
    commit(repository, PutFile(PATH, data), edit({"id": "d"}))
    assert listed(repository) == [
        {"id": "a", "names": ["x"]},
        {"id": "b", "names": ["y"]},
        {"id": "c", "size": 2},
        {"id": "d"},
    ]


@pytest.mark.parametrize(
    "data", [b"", b"{}x", b"1", b"[1]", b"[{}]", b'{"a": 1}', b'[{"id": 1}]']
)
def test_what_is_no_list_is_refused_by_its_path(
    repository: Repository, data: bytes
) -> None:
    commit(repository, PutFile(PATH, repository.sink.put_bytes(data)))
    with pytest.raises(InvalidChange, match=r"/store/list\.json is no list"):
        commit(repository, edit({"id": "a"}))
