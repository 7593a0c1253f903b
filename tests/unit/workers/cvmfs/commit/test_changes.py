"""Commits that rely on what was there when they were prepared."""

from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs import (
    ContentCollected,
    LocalStorage,
    PutLink,
    RemovePath,
    Repository,
    RequirePath,
)

TREE, BASE = PutLink(b"/shelf/tree", b"contents"), PutLink(b"/base", b"x")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.create(FQRN, LocalStorage(tmp_path), keys(), now=NOW)
    made.commit([TREE, BASE], now=NOW + 1)
    return made


def has(repository: Repository, path: bytes) -> bool:
    return repository.read().lookup(path) is not None


def test_what_is_there_is_required_and_not_changed(repository: Repository) -> None:
    before = repository.head().revision
    repository.commit([RequirePath(TREE.path)], now=NOW + 2)
    assert repository.head().revision == before
    repository.commit([RequirePath(TREE.path), PutLink(b"/a", b"b")], now=NOW + 3)
    assert has(repository, b"/a")


@pytest.mark.parametrize("path", [b"/shelf/other", b"/nowhere/at/all", b"/base/below"])
def test_nothing_is_published_that_relies_on_what_is_not_there(
    repository: Repository, path: bytes
) -> None:
    with pytest.raises(ContentCollected, match="is not there any more"):
        repository.commit([PutLink(b"/a", b"b"), RequirePath(path)], now=NOW + 2)
    assert not has(repository, b"/a")


def test_only_the_batch_that_relies_on_it_is_left_out(repository: Repository) -> None:
    remover = repository.batch([RemovePath(TREE.path)])
    relying = repository.batch([RequirePath(TREE.path), PutLink(b"/a", b"b")])
    other = repository.batch([PutLink(b"/c", b"d")])
    with repository.storage.lock():
        done = repository.commit_batches(
            [remover, relying, other], now=NOW + 2, confirm=lambda _: {}
        )
    assert list(done.left_out) == [relying]
    assert (has(repository, b"/a"), has(repository, b"/c")) == (False, True)
