import stat
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    NOW,
    directory,
    file,
    link,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    Change,
    Dirent,
    GraftTree,
    PutFile,
    PutLink,
    Repository,
    Snapshot,
    Tree,
)
from workers.cvmfs.errors import Damaged, Malformed, NotFound
from workers.cvmfs.values.hash import Kind

PLACE = b"/.flat/ab/abcdef"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = new_repository(tmp_path)
    prepared = repository.prepare(PLACE, small_tree(repository.sink))
    data = repository.sink.put_bytes(b"text")
    changes: list[Change] = [
        GraftTree(PLACE, prepared),
        PutLink(b"/registry/group/image:tag", b"../.././.flat//ab/abcdef"),
        PutLink(b"/registry/group/alias", b"image:tag"),
        PutLink(b"/registry/group/circle", b"circle"),
        PutLink(b"/registry/group/absolute", b"/etc"),
        PutLink(b"/registry/group/out", b"../../.."),
        PutFile(b"/plain/file", data),
    ]
    repository.commit(changes, now=NOW)
    return repository


@pytest.fixture
def snapshot(repository: Repository) -> Snapshot:
    return repository.read()


def test_entries_are_found_across_nested_catalogs(snapshot: Snapshot) -> None:
    root = snapshot.lookup(b"")
    assert root is not None
    assert stat.S_ISDIR(root.mode)
    assert snapshot.lookup(PLACE) == directory(mtime=-3, mtime_ns=5)
    hello = snapshot.lookup(PLACE + b"/hello")
    assert hello is not None
    assert snapshot.read(hello) == b"hello"
    for path in (b"/x", PLACE + b"/x", PLACE + b"/hello/x", b"/x/y/z"):
        assert snapshot.lookup(path) is None


def test_a_listing_has_everything_sorted_by_name(
    repository: Repository, snapshot: Snapshot
) -> None:
    assert list(snapshot.listdir(b"")) == [b".flat", b"plain", b"registry"]
    entries = snapshot.listdir(PLACE)
    tree = small_tree(repository.sink)
    assert list(entries) == sorted({*tree.directories[b""], b".cvmfscatalog"})
    for name, dirent in tree.directories[b""].items():
        assert entries[name] == dirent
    for path in (b"/x", PLACE + b"/hello", PLACE + b"/link"):
        with pytest.raises(NotFound):
            snapshot.listdir(path)


def test_a_walk_sees_every_path_once_and_parents_first(snapshot: Snapshot) -> None:
    paths = [path for path, _ in snapshot.walk()]
    assert len(set(paths)) == len(paths)
    seen: set[bytes] = set()
    for path in paths:
        assert not path or path.rpartition(b"/")[0] in seen
        seen.add(path)
    assert PLACE + b"/bin/deep" in seen
    assert PLACE + b"/not \xff utf-8" in seen
    below = [path for path, _ in snapshot.walk(PLACE)]
    assert below == [path for path in paths if path.startswith(PLACE)]
    with pytest.raises(NotFound):
        next(snapshot.walk(b"/nothing"))


def test_a_tree_is_what_was_prepared(
    repository: Repository, snapshot: Snapshot
) -> None:
    assert snapshot.tree(PLACE) == small_tree(repository.sink)
    for path in (b"/plain", PLACE + b"/bin"):
        with pytest.raises(NotFound, match="not the root of a nested catalog"):
            snapshot.tree(path)
    with pytest.raises(NotFound):
        snapshot.tree(b"/nothing")


def test_a_tree_includes_the_catalogs_nested_in_it(
    repository: Repository, snapshot: Snapshot
) -> None:
    hard = b"/.flat/ab/another"
    prepared = repository.prepare(hard, small_tree(repository.sink))
    repository.commit([GraftTree(hard, prepared)], now=NOW)
    tree = repository.read().tree(b"/.flat")
    assert set(tree.directories[b"ab"]) == {b"abcdef", b"another"}
    inner = small_tree(repository.sink)
    assert tree.directories[b"ab/another/bin/deep"] == {}
    groups = {
        name: {
            dirent.link_group
            for dirent in tree.directories[b"ab/" + name + b"/bin"].values()
            if dirent.link_group
        }
        for name in (b"abcdef", b"another")
    }
    assert all(len(group) == 1 for group in groups.values())
    assert groups[b"abcdef"] != groups[b"another"]
    assert tree.directories[b"ab/another"] == inner.directories[b""]
    everything = snapshot.tree(b"")
    assert everything.directories[b"plain"].keys() == {b"file"}


def test_symlinks_are_resolved_within_the_repository(snapshot: Snapshot) -> None:
    assert snapshot.resolve(b"/registry/group/image:tag") == PLACE
    assert snapshot.resolve(b"/registry/group/alias") == PLACE
    assert snapshot.resolve(b"/registry/group/alias/link") == PLACE + b"/bin/one"
    assert snapshot.resolve(b"") == b""
    assert snapshot.resolve(b"/plain/file") == b"/plain/file"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"circle", "in circles"),
        (b"absolute", "out of the repository"),
        (b"out", "out of the repository"),
        (b"missing", "nothing at"),
        (b"alias/missing", "nothing at"),
    ],
)
def test_links_that_lead_nowhere_are_not_found(
    snapshot: Snapshot, name: bytes, reason: str
) -> None:
    with pytest.raises(NotFound, match=reason):
        snapshot.resolve(b"/registry/group/" + name)


def test_only_regular_files_have_content(snapshot: Snapshot) -> None:
    entry = snapshot.lookup(PLACE)
    assert entry is not None
    with pytest.raises(NotFound):
        snapshot.read(entry)
    with pytest.raises(NotFound):
        snapshot.open(link(b"x"))
    external = Dirent(stat.S_IFREG)
    with pytest.raises(NotFound):
        snapshot.read(external)


def test_an_old_revision_can_still_be_read(
    repository: Repository, snapshot: Snapshot
) -> None:
    before = {path: dirent.mtime for path, dirent in snapshot.walk()}
    head = repository.head()
    repository.commit([PutLink(b"/plain/more", b"x")], now=NOW + 5)
    old = repository.read_revision(head.root_catalog)
    assert {path: dirent.mtime for path, dirent in old.walk()} == before
    assert snapshot.lookup(b"/plain/more") is None
    assert repository.read().lookup(b"/plain/more") is not None
    assert old.revision == head.revision
    assert old.root_hash == head.root_catalog


def test_catalogs_are_listed_outer_ones_first(snapshot: Snapshot) -> None:
    paths = [reference.path for reference in snapshot.catalogs()]
    assert paths == [
        b"",
        b"/.flat",
        b"/.flat/ab",
        PLACE,
        b"/registry",
        b"/registry/group",
    ]


@pytest.mark.slow
def test_more_catalogs_than_are_kept_open_can_be_read(repository: Repository) -> None:
    changes: list[Change] = []
    for number in range(40):
        path = b"/.flat/%02x/image" % number
        changes.append(GraftTree(path, repository.prepare(path, Tree(directory()))))
    repository.commit(changes, now=NOW)
    snapshot = repository.read()
    opened = [snapshot.catalog(reference) for reference in snapshot.catalogs()]
    assert len(opened) == 6 + 80 - 0
    assert all(catalog.row(catalog.mountpoint) for catalog in opened)
    assert len(list(snapshot.walk())) == len(list(repository.read().walk()))


def test_damage_to_a_catalog_is_noticed(repository: Repository, tmp_path: Path) -> None:
    nested = repository.read().catalog(
        next(r for r in repository.read().catalogs() if r.path == PLACE)
    )
    reference = next(r for r in repository.read().catalogs() if r.path == PLACE)
    assert nested.mountpoint == PLACE
    path = tmp_path / reference.hash.path(Kind.CATALOG)
    stored = path.read_bytes()
    path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    with pytest.raises(Damaged):
        repository.read().listdir(PLACE)
    path.unlink()
    with pytest.raises(NotFound):
        repository.read().tree(PLACE)
    with pytest.raises(Malformed):
        repository.read().catalog(
            repository.read().root_catalog.nested()[0]._replace(path=b"/else")
        )


def test_contents_are_read_block_by_block(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    data = bytes(1 << 18) + b"the rest"
    content = repository.sink.put_bytes(data)
    blocks = list(repository.read().pieces(file(content)))
    assert b"".join(blocks) == data
    assert len(blocks) == 2
