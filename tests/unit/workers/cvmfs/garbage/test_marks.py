"""Marks tell what is named from what is not."""

from pathlib import Path

from tests.support.repositories.garbage_collection import (
    IMAGE,
    collect,
    contents,
    findings,
    publish,
    repository_at,
)
from tests.support.repositories.repository_builders import NOW, new_repository
from workers.cvmfs import LocalStorage, PutFile
from workers.cvmfs.garbage.marks import Marks
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.values.hash import ContentHash, Kind


def test_a_file_that_is_a_copy_of_a_catalog_does_not_hide_what_that_names(
    tmp_path: Path,
) -> None:
    repository = new_repository(tmp_path)
    publish(repository, b"inner", now=NOW + 1)
    inner = repository.read().root_catalog.nested()[0]
    data = get_object(LocalStorage(tmp_path), inner.hash, Kind.CATALOG)
    content = repository.sink.put_bytes(data)
    assert content.hash == inner.hash.digest
    repository.commit([PutFile(b"/a-copy", content)], now=NOW + 2)
    collect(tmp_path)
    assert contents(repository_at(tmp_path).read())[IMAGE + b"/inner"]
    assert findings(tmp_path) == []


def test_marks_find_what_was_marked_and_nothing_else() -> None:
    marks = Marks()
    hashes = [ContentHash.of(b"%d" % number) for number in range(2000)]
    for content_hash in hashes[::2]:
        marks.add(content_hash)
    assert all(map(marks.contains, hashes[::2]))
    assert not any(map(marks.contains, hashes[1::2]))
    found = set[ContentHash]()
    for shard in range(256):
        found |= marks.of_shard(f"{shard:02x}")
    assert found == set(hashes[::2])
    marks.close()
