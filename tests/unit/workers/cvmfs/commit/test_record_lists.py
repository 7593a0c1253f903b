"""Lists that many processes edit, as a commit brings them together."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import FQRN, keys
from tests.support.repositories.s3_server import Request, s3_server
from workers.cvmfs import (
    Batch,
    Change,
    Content,
    EditRecords,
    InvalidChange,
    LocalStorage,
    PutFile,
    RemovePath,
    Repository,
    S3Storage,
)
from workers.cvmfs.commit import record_file
from workers.cvmfs.errors import NotFound
from workers.cvmfs.objects.objects import (
    read_content,
)
from workers.cvmfs.values.hash import ContentHash, Kind

INDEX = b"/store/.list.json.index"
FEW = 3
"""Records of a chunk, where there are not to be 512."""
names = st.lists(st.sampled_from("uvwxyz"), max_size=3, unique=True)
records = st.fixed_dictionaries(
    {"id": st.sampled_from("abcdefghijklmnopqrst")},
    optional={"names": names, "size": st.integers(0, 2)},
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


def test_batches_of_many_processes_come_into_one_list(repository: Repository) -> None:
    commit(repository, edit({"id": "a", "size": 1}))
    batches = [
        Batch.decode(repository.batch([edit({"id": key})]).encode()) for key in "bc"
    ]
    with repository.storage.lock():
        repository.commit_batches(batches, now=NOW, confirm=lambda _: {})
    assert listed(repository) == [{"id": "a", "size": 1}, {"id": "b"}, {"id": "c"}]


def test_other_changes_see_what_was_edited(repository: Repository) -> None:
    empty = repository.sink.put_bytes(b"[]")
    commit(repository, edit({"id": "a"}), PutFile(PATH, empty), edit({"id": "b"}))
    assert listed(repository) == [{"id": "b"}]
    commit(repository, edit({"id": "c"}), RemovePath(b"/store"))
    assert repository.read().lookup(b"/store") is None


def test_a_folder_is_no_list(repository: Repository) -> None:
    commit(repository, PutFile(PATH + b"/file", repository.sink.put_bytes(b"")))
    with pytest.raises(InvalidChange, match="is not a file"):
        commit(repository, edit({"id": "a"}))


@pytest.fixture
def short_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "_RECORDS_OF_A_CHUNK", FEW)
        yield


def record(number: int) -> dict[str, object]:
    return {"id": f"{number:064}", "names": [f"name {number}"]}


def content(repository: Repository, path: bytes = PATH) -> Content:
    dirent = repository.read().lookup(path)
    assert dirent is not None
    assert dirent.content is not None
    return dirent.content


def listed(repository: Repository) -> object:
    return json.loads(read_content(repository.storage, content(repository)))


def pieces_of(content: Content) -> set[str]:
    """Return where the chunks of a list are stored."""
    return {ContentHash(one.hash).path(Kind.PARTIAL) for one in content.chunks}


def test_a_bucket_is_asked_for_all_that_edits_need_at_once(short_chunks: None) -> None:
    with s3_server() as server:
        storage = S3Storage(server.access("p"))
        repository = Repository.create(FQRN, storage, keys(), now=NOW)
        commit(repository, edit(*map(record, range(60))))
        buckets, pieces = (
            {"p/" + path for path in pieces_of(content(repository, path))}
            for path in (INDEX, PATH)
        )
        enough = threading.Event()

        def hold(request: Request) -> None:
            if request.method == "GET" and request.key in buckets:
                if server.in_flight >= 4:
                    enough.set()
                enough.wait(60)

        server.refuse = hold
        server.requests.clear()
        batches = [
            repository.batch([edit({"id": f"{number:064}"}, names=(f"name {name}",))])
            for number, name in [(7, 31), (60, 58), (41, 40)]
        ]
        with storage.lock():
            repository.commit_batches(batches, now=NOW, confirm=lambda _: {})
        assert enough.is_set()
        read = [one.key for one in server.requests if one.method == "GET"]
        of_list = [key for key in read if key in pieces]
        assert len(of_list) == len(set(of_list)) == 4
        assert len([key for key in read if key in buckets]) <= 6
        assert len(cast("list[object]", listed(repository))) == 61


def test_a_chunk_that_is_gone_harms_those_who_need_it(short_chunks: None) -> None:
    with s3_server() as server:
        storage = S3Storage(server.access("p"))
        repository = Repository.create(FQRN, storage, keys(), now=NOW)
        commit(repository, edit(*map(record, range(60))))
        gone = ContentHash(content(repository).chunks[2].hash).path(Kind.PARTIAL)
        kept = server.objects.pop("p/" + gone)
        batches = [
            repository.batch([edit({"id": "new"}, names=(name,))])
            for name in ("name 7", "name 20")
        ]
        with storage.lock():
            committed = repository.commit_batches(
                batches, now=NOW, confirm=lambda _: {}
            )
        assert list(committed.left_out) == batches[:1]
        assert isinstance(committed.left_out[batches[0]], NotFound)
        server.objects["p/" + gone] = kept
        expected: list[dict[str, object]] = [*map(record, range(60)), {"id": "new"}]
        expected[20]["names"] = []
        assert listed(repository) == expected
