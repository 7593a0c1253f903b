"""Catalogs that are there are edited in place, those of others too."""

import sqlite3
from pathlib import Path

import pytest

from tests.support.repositories.independent_audit import Audit, audit, stored_object
from tests.support.repositories.repository_builders import (
    NOW,
    directory,
    file,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    Content,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    Tree,
)
from workers.cvmfs.catalog.editor import CatalogEditor
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.errors import (
    Malformed,
)

PLACE = b"/.flat/ab/abcdef"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def graft(repository: Repository, path: bytes, tree: Tree | None = None) -> GraftTree:
    if tree is None:
        tree = small_tree(repository.sink)
    return GraftTree(path, repository.prepare(path, tree))


def rows(base: Path, found: Audit, mountpoint: bytes) -> dict[bytes, sqlite3.Row]:
    data = stored_object(base, found.catalogs[mountpoint], "C")
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    connection.row_factory = sqlite3.Row
    result = connection.execute(
        "SELECT CAST(name AS BLOB) AS raw, hardlinks, mtime, flags FROM catalog"
    )
    named = {row["raw"]: row for row in result}
    connection.close()
    return named


def test_a_change_inside_an_image_edits_its_catalog_and_both_its_rows(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit([graft(repository, PLACE)], now=NOW)
    content = repository.sink.put_bytes(b"new")
    repository.commit([PutFile(PLACE + b"/new/file", content)], now=NOW + 5)
    found = audit(tmp_path)
    assert found.contents[PLACE + b"/new/file"] == b"new"
    assert found.contents[PLACE + b"/hello"] == b"hello"
    outer = rows(tmp_path, found, b"/.flat/ab")[b"abcdef"]
    inner = rows(tmp_path, found, PLACE)[b"abcdef"]
    assert outer["hardlinks"] == inner["hardlinks"] == 4
    assert outer["mtime"] == inner["mtime"] == NOW + 5
    assert outer["flags"] == 3
    assert inner["flags"] == 33


def test_the_others_of_a_hard_link_group_learn_that_there_is_one_less(
    repository: Repository, tmp_path: Path
) -> None:
    hard = file(repository.sink.put_bytes(b"x"), link_group=1)
    entries = dict.fromkeys((b"a", b"b", b"c"), hard)
    tree = Tree(directory(), {b"": entries})
    repository.commit([graft(repository, PLACE, tree)], now=NOW)
    repository.commit([RemovePath(PLACE + b"/a")], now=NOW)
    named = rows(tmp_path, audit(tmp_path), PLACE)
    assert named[b"b"]["hardlinks"] == named[b"c"]["hardlinks"] == 1 << 32 | 2
    repository.commit([PutLink(PLACE + b"/b", b"x")], now=NOW)
    named = rows(tmp_path, audit(tmp_path), PLACE)
    assert named[b"c"]["hardlinks"] == 1


def test_catalogs_of_older_cvmfs_are_brought_up_to_date(
    repository: Repository, tmp_path: Path
) -> None:
    def older(revision: int) -> bytes:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        tree = Tree(directory(), {b"": {b"a": file(Content(b"h" * 20, 1))}})
        connection.deserialize(draft_catalog(PLACE, tree).data)
        connection.execute("ALTER TABLE catalog DROP COLUMN mtimens")
        connection.execute(
            "UPDATE properties SET value=? WHERE key='schema_revision'",
            (str(revision),),
        )
        data: bytes = connection.serialize()
        connection.close()
        return data

    editor = CatalogEditor(Catalog(older(6), PLACE), None)
    editor.insert(PLACE + b"/b", file(Content(b"h" * 20, 1), mtime_ns=5))
    upgraded = Catalog(editor.finish(NOW), PLACE)
    assert upgraded.properties["schema_revision"] == "7"
    row = upgraded.row(PLACE + b"/b")
    assert row is not None
    assert row.mtimens == 5
    with pytest.raises(Malformed, match="schema revision '4'"):
        CatalogEditor(Catalog(older(4), PLACE), None)
