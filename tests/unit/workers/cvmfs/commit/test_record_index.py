"""Long lists of records: edits that read and write little of them.

What a list has to be is said by a dictionary that the same edits are made to.
"""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import FQRN, keys
from tests.support.repositories.s3_server import s3_server
from workers.cvmfs import (
    Change,
    Chunk,
    Content,
    EditRecords,
    LocalStorage,
    PutFile,
    RemovePath,
    Repository,
    S3Storage,
)
from workers.cvmfs.commit import record_file
from workers.cvmfs.commit.record_file import RecordFile
from workers.cvmfs.commit.record_index import RecordIndex
from workers.cvmfs.objects.objects import (
    DEFAULT_LEVEL,
    put_object,
    read_chunks,
    read_content,
)
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.cvmfs.storage.storage import Storage, reads_at_once
from workers.cvmfs.values.hash import ContentHash, Kind

PATH = b"/store/list.json"
INDEX = b"/store/.list.json.index"
NOW = int(time.time())
FEW = 3
"""Records of a chunk, where there are not to be 512."""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    storage = LocalStorage(tmp_path)
    return Repository.create(FQRN, storage, keys(), now=NOW)


@pytest.fixture
def short_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "_RECORDS_OF_A_CHUNK", FEW)
        yield


def record(number: int) -> dict[str, object]:
    return {"id": f"{number:064}", "names": [f"name {number}"]}


def edit(*records: object, names: tuple[str, ...] = ()) -> EditRecords:
    return EditRecords(PATH, tuple(map(json.dumps, records)), names)


def commit(repository: Repository, *changes: Change) -> bool:
    return repository.commit(changes, now=NOW).is_new


def content(repository: Repository, path: bytes = PATH) -> Content:
    dirent = repository.read().lookup(path)
    assert dirent is not None
    assert dirent.content is not None
    return dirent.content


def listed(repository: Repository) -> object:
    return json.loads(read_content(repository.storage, content(repository)))


@pytest.mark.slow
def test_one_record_of_many_costs_a_few_chunks(
    repository: Repository, tmp_path: Path
) -> None:
    records = [record(number) for number in range(6000)]
    commit(repository, edit(*records))
    before = content(repository)
    stored = set((tmp_path / "data").glob("*/*P"))
    assert len(before.chunks) == 12
    commit(repository, edit({"id": "new"}, names=("name 3000",)))
    # Where the name was taken away, and the end.
    assert len(pieces_of(content(repository)) - pieces_of(before)) == 2
    # And the seal of the index, with a bucket for the name and one for the id.
    assert 4 <= len(set((tmp_path / "data").glob("*/*P")) - stored) <= 5
    records[3000]["names"] = []
    assert listed(repository) == [*records, {"id": "new"}]


def test_a_list_that_is_read_by_no_index_gets_one(
    repository: Repository, short_chunks: None
) -> None:
    records = [record(number) for number in range(20)]
    commit(repository, edit(*records))
    first = content(repository)
    sink = repository.sink

    def in_other_words() -> Content:
        return sink.put_bytes(json.dumps(listed(repository), indent=1).encode())

    ways: list[list[Change]] = [
        [RemovePath(INDEX)],
        [PutFile(INDEX, sink.put_bytes(b"of somebody else"))],
        [RemovePath(INDEX), PutFile(INDEX + b"/folder", sink.put_bytes(b""))],
        [PutFile(PATH, in_other_words())],
    ]
    for number, way in enumerate(ways, start=20):
        commit(repository, *way)
        records = cast("list[dict[str, object]]", listed(repository))
        owner = records[number % 5]
        records.append(record(number))
        commit(repository, edit(record(number), names=(f"name {number % 5}",)))
        owner["names"] = []
        assert listed(repository) == records
        check_index(repository)
    # Its index is there, and is that of another list.
    commit(repository, PutFile(PATH, first))
    commit(repository, edit({"id": "last"}, names=("name 3",)))
    records = [*map(record, range(20)), {"id": "last"}]
    records[3]["names"] = []
    assert listed(repository) == records
    check_index(repository)


def check_index(repository: Repository) -> None:
    """Check that the list is in short chunks, and all of them in the index."""
    list_content = content(repository)
    index_content = content(repository, INDEX)
    assert RecordIndex.is_true(index_content, list_content, DEFAULT_LEVEL)
    index = RecordIndex(repository.storage, index_content)
    chunks = read_chunks(repository.storage, list_content, list_content.chunks)
    for number, data in enumerate(chunks):
        lines = data.decode().strip("[],\n").split(",\n")
        assert 1 <= len(lines) <= FEW
        for line in lines:
            found = json.loads(line)
            texts = ["id " + found["id"]]
            texts += ["name " + name for name in found.get("names", ())]
            index.read(texts)
            assert {index.get(text) for text in texts} == {number}


def test_lists_of_older_versions_are_cut_anew(
    repository: Repository, short_chunks: None
) -> None:
    # These cut behind some ids; the last chunk could be the end alone.
    pieces = [b'[\n{"id":"b","size":1},\n{"id":"a"}', b',\n{"id":"c"}', b"\n]\n"]
    chunks: list[Chunk] = []
    for piece in pieces:
        offset = sum(chunk.size for chunk in chunks)
        chunks.append(repository.sink.put_chunk(piece, offset))
    size = sum(map(len, pieces))
    commit(repository, PutFile(PATH, Content(None, size, chunks=tuple(chunks))))
    assert not commit(repository, edit({"id": "a"}))
    commit(repository, edit({"id": "d"}))
    assert listed(repository) == [
        {"id": "b", "size": 1},
        {"id": "a"},
        {"id": "c"},
        {"id": "d"},
    ]
    check_index(repository)


def test_odd_texts_are_ids_and_names(
    repository: Repository, short_chunks: None
) -> None:
    odd = ["", '"', "],\n[", "\ud800", "é", "id ", "name x", "x"]
    records = [{"id": text, "names": [text], "of": {"id": "x"}} for text in odd]
    commit(repository, edit(*records))
    commit(repository, edit({"id": "new", "names": odd}))
    assert listed(repository) == [
        *({"id": text, "names": [], "of": {"id": "x"}} for text in odd),
        {"id": "new", "names": sorted(odd)},
    ]
    check_index(repository)


# Edits as one likes.


class Memory:
    """A storage that says what was read and written."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.read: list[str] = []
        self.written: list[str] = []

    def open(self, path: str) -> BinaryIO:
        self.read.append(path)
        return io.BytesIO(self.files[path])

    def put(self, path: str, data: bytes) -> bool:
        self.written.append(path)
        return self.files.setdefault(path, data) is data


class Model:
    """What a list has to be."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}

    def edit(self, records: list[dict[str, Any]], names: list[str]) -> None:
        self.take_away(names)
        for new in records:
            self.take_away(new.get("names", []))
            known = self.records.get(new["id"], {}).get("names", [])
            both = sorted({*new.get("names", []), *known})
            has_names = "names" in new or known
            self.records[new["id"]] = new | ({"names": both} if has_names else {})

    def take_away(self, names: list[str]) -> None:
        for known in self.records.values():
            if "names" in known:
                known["names"] = [one for one in known["names"] if one not in names]


names = st.lists(st.sampled_from("uvwxyz"), max_size=3, unique=True)
records = st.fixed_dictionaries(
    {"id": st.sampled_from("abcdefghijklmnopqrst")},
    optional={"names": names, "size": st.integers(0, 2)},
)
edits = st.tuples(st.lists(records, max_size=4), names)
happenings = st.sampled_from(["nothing"] * 5 + ["the index is lost", "of others"])
commits = st.lists(st.tuples(st.lists(edits, max_size=3), happenings), max_size=12)


@given(commits)
def test_any_edits_make_the_list_that_a_dictionary_makes(
    commits: list[tuple[list[tuple[list[dict[str, Any]], list[str]]], str]],
) -> None:
    memory, model = Memory(), Model()
    storage = cast("Storage", memory)
    content: Content | None = None
    index: Content | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "_RECORDS_OF_A_CHUNK", FEW)
        for some, happening in commits:
            if happening == "the index is lost":
                index = None
            elif happening == "of others" and content is not None:
                data = json.dumps(list(model.records.values()), indent=1).encode()
                whole, _ = put_object(storage, data, Kind.BULK)
                content = Content(whole.digest, len(data))
            before = json.dumps(model.records, sort_keys=True)
            old = set() if content is None else pieces_of(content)
            is_indexed = (
                content is not None
                and index is not None
                and RecordIndex.is_true(index, content, DEFAULT_LEVEL)
            )
            memory.read.clear()
            memory.written.clear()
            file = RecordFile(storage, PATH, content, index, DEFAULT_LEVEL)
            for new, taken in some:
                model.edit([one.copy() for one in new], taken)
                file.edit([json.dumps(one) for one in new], taken)
            if is_indexed:
                # For each id and each name one chunk, and the last one.
                assert len(old & set(memory.read)) <= 1 + sum(
                    len(new)
                    + len(taken)
                    + sum(len(one.get("names", ())) for one in new)
                    for new, taken in some
                )
            is_changed = json.dumps(model.records, sort_keys=True) != before
            assert file.is_changed is is_changed
            if not is_changed:
                assert not memory.written
                continue
            content, index = file.store()
            if is_indexed:
                assert not old & set(memory.written)
            assert pieces_of(content) - old <= set(memory.written)
            listed = json.loads(read_content(storage, content))
            assert listed == list(model.records.values())
            owned = [name for one in listed for name in one.get("names", ())]
            assert len(owned) == len(set(owned))
            assert len(content.chunks) == (-(-len(listed) // FEW) if index else 0)


def pieces_of(content: Content) -> set[str]:
    """Return where the chunks of a list are stored."""
    return {ContentHash(one.hash).path(Kind.PARTIAL) for one in content.chunks}


# In a bucket.


def test_a_bucket_behind_the_locks_of_the_stock_tools_is_one(tmp_path: Path) -> None:
    with s3_server() as server:
        far = StockStorage(S3Storage(server.access("p")), tmp_path, FQRN)
        near = StockStorage(LocalStorage(tmp_path), tmp_path, FQRN)
        assert reads_at_once(far) > 1
        assert reads_at_once(near) == 1
