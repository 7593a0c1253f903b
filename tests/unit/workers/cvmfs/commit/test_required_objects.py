"""What was prepared is looked up again before it is committed."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    LATER,
    collect,
    findings,
    image,
    repository_at,
    two_revisions,
)
from tests.support.repositories.repository_builders import (
    NOW,
    directory,
    new_repository,
    wide_tree,
)
from workers.cvmfs import (
    Change,
    ContentCollected,
    ContentHash,
    GraftTree,
    Kind,
    NestedCatalog,
    NotFound,
    PreparedTree,
    PutFile,
    Repository,
    Tree,
)
from workers.cvmfs.catalog.cutting import CutSize
from workers.cvmfs.catalog.reader import load_catalog
from workers.cvmfs.objects.objects import pack
from workers.cvmfs.storage.storage import COLLECTION

PLACE = b"/.flat/ab/abcdef"
TINY = CutSize(whole=12, most=6, least=3)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def graft(repository: Repository, tree: Tree, size: CutSize = TINY) -> PreparedTree:
    prepared = repository.prepare(PLACE, tree, size)
    repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    return prepared


def test_what_collection_took_of_a_tree_before_its_commit_is_missed(
    repository: Repository, tmp_path: Path
) -> None:
    prepared = repository.prepare(PLACE, wide_tree(repository.sink), TINY)
    collect(tmp_path)
    with pytest.raises(ContentCollected):
        repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    graft(repository, wide_tree(repository.sink))
    assert findings(tmp_path) == []


def test_one_missing_inner_catalog_is_enough_to_be_missed(
    repository: Repository, tmp_path: Path
) -> None:
    prepared = repository.prepare(PLACE, wide_tree(repository.sink), TINY)
    nested = NestedCatalog(PLACE, prepared.hash, prepared.size)
    with closing(load_catalog(repository.storage, nested)) as catalog:
        inner = catalog.nested()[2]
    (tmp_path / inner.hash.path(Kind.CATALOG)).unlink()
    collect(tmp_path)  # so that it is looked up
    with pytest.raises(ContentCollected):
        repository.commit([GraftTree(PLACE, prepared)], now=NOW)


def test_what_was_prepared_before_a_collection_is_looked_up_again(
    tmp_path: Path,
) -> None:
    two_revisions(tmp_path)
    repository = repository_at(tmp_path)
    path = b"/.flat/ab/late"
    tree = repository.prepare(path, image(repository, b"leaked"))
    content = repository.sink.put_bytes(b"a file")
    collect(tmp_path)
    with pytest.raises(ContentCollected):
        repository.commit([GraftTree(path, tree)], now=LATER)
    with pytest.raises(ContentCollected):
        repository.commit([PutFile(b"/file", content)], now=LATER)
    # It has forgotten what it knew: the same again succeeds.
    tree = repository.prepare(path, image(repository, b"leaked"))
    content = repository.sink.put_bytes(b"a file")
    changes: list[Change] = [GraftTree(path, tree), PutFile(b"/file", content)]
    assert repository.commit(changes, now=LATER).is_new
    assert findings(tmp_path) == []


def test_a_tree_whose_contents_are_gone_is_not_even_prepared(tmp_path: Path) -> None:
    two_revisions(tmp_path)
    repository = repository_at(tmp_path)
    tree = image(repository, b"leaked")
    collect(tmp_path)
    with pytest.raises(ContentCollected):
        repository.prepare(b"/.flat/ab/late", tree)


def test_a_tree_prepared_before_a_collection_was_killed_is_looked_up(
    tmp_path: Path,
) -> None:
    two_revisions(tmp_path)
    (tmp_path / COLLECTION).write_bytes(b"deleting\n")
    repository = repository_at(tmp_path)
    path = b"/.flat/ab/late"
    tree = repository.prepare(path, image(repository, b"leaked"))
    content = repository.sink.put_bytes(b"a file")
    assert tree.complete_at is None
    changes: list[Change] = [GraftTree(path, tree), PutFile(b"/file", content)]
    victim = ContentHash.of(pack(b"content of leaked")).path(Kind.BULK)
    stored = (tmp_path / victim).read_bytes()
    (tmp_path / victim).unlink()
    with pytest.raises(ContentCollected):
        repository.commit(changes, now=LATER)
    (tmp_path / victim).write_bytes(stored)
    assert repository.commit(changes, now=LATER).is_new


def test_the_catalog_of_a_prepared_tree_must_still_be_there(
    repository: Repository, tmp_path: Path
) -> None:
    prepared = repository.prepare(PLACE, Tree(directory()))
    digest = str(prepared.hash)
    (tmp_path / "data" / digest[:2] / (digest[2:] + "C")).unlink()
    with pytest.raises(NotFound, match="is gone"):
        repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    assert repository.head().revision == 1
