"""What runs read of a repository raises errors that a run understands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    ContentCollected,
    Damaged,
    FormatError,
    GraftTree,
    InvalidKeys,
    NotFound,
    NotTrusted,
    RepositoryBusy,
    StorageFailed,
    WhitelistExpired,
)
from workers.publishing.published_snapshot import PublishedSnapshot, as_publisher_error
from workers.publishing.publisher import (
    PublicationFailed,
    PublishedTree,
    RepositoryUnavailable,
)

PLACE = b"/.flat/ab/abcdef"


@pytest.fixture
def tree(tmp_path: Path) -> PublishedSnapshot:
    repository = new_repository(tmp_path)
    graft = GraftTree(PLACE, repository.prepare(PLACE, small_tree(repository.sink)))
    repository.commit([graft], now=NOW)
    return PublishedSnapshot(FQRN, repository.read())


def test_it_reads_what_the_snapshot_reads(tree: PublishedSnapshot) -> None:
    assert tree.revision == 2
    assert tree.lookup(b"/nowhere") is None
    found = dict(tree.walk(PLACE))
    names = {path.rpartition(b"/")[2] for path in found if path != PLACE}
    assert tree.listdir(PLACE).keys() <= names
    assert tree.tree(PLACE).directories[b""].keys() <= names
    [file] = [entry for entry in found.values() if entry.content][:1]
    assert b"".join(tree.pieces(file)) == tree.read(file)
    assert tree.resolve(PLACE) == PLACE


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: tree.listdir(b"/nowhere"),
        lambda tree: list(tree.walk(b"/nowhere")),
        lambda tree: tree.resolve(b"/nowhere"),
        lambda tree: tree.tree(b"/nowhere"),
    ],
    ids=["listdir", "walk", "resolve", "tree"],
)
def test_what_is_not_there_says_so_in_our_words(
    tree: PublishedSnapshot, ask: Callable[[PublishedTree], object]
) -> None:
    with pytest.raises(RepositoryUnavailable, match=FQRN):
        ask(tree)


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (WhitelistExpired("x"), RepositoryUnavailable),
        (ContentCollected("x"), RepositoryUnavailable),
        (RepositoryBusy("x"), RepositoryUnavailable),
        (StorageFailed("x"), RepositoryUnavailable),
        (InvalidKeys("x"), RepositoryUnavailable),
        (NotTrusted("x"), RepositoryUnavailable),
        (NotFound("x"), RepositoryUnavailable),
        (Damaged("x"), PublicationFailed),
    ],
)
def test_only_what_no_retry_mends_is_final(
    raised: FormatError, becomes: type[Exception]
) -> None:
    with pytest.raises(becomes, match=f"^{FQRN}: .*x"), as_publisher_error(FQRN):
        raise raised
