"""Large trees are cut into catalogs nested in one another, and nobody can tell."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.drawn_trees import trees
from tests.support.repositories.garbage_collection import collect, findings, objects
from tests.support.repositories.independent_audit import audit, stored_object
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    WIDE_TREE_TOPS,
    directory,
    file,
    gathered,
    keys,
    new_repository,
    small_tree,
    wide_tree,
)
from workers.cvmfs import (
    Catalog,
    ContentHash,
    Directory,
    Dirent,
    GraftTree,
    LocalStorage,
    NestedCatalog,
    PreparedTree,
    PutLink,
    RemovePath,
    Repository,
    Tree,
    add_tag,
    roll_back,
)
from workers.cvmfs.catalog.cutting import DEFAULT_CUT, CutSize, Part, cut
from workers.cvmfs.catalog.prepare import (
    LOST_MARKER,
    TreeDraft,
    draft_catalog,
    draft_tree,
)
from workers.cvmfs.catalog.row_writer import LOST_LINK, LOST_XATTR, RowWriter
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.cvmfs.errors import InvalidTree
from workers.cvmfs.objects.objects import EMPTY_CONTENT

PLACE = b"/.flat/ab/abcdef"
TINY = CutSize(whole=12, most=6, least=3)
EAGER = CutSize(whole=1, most=1, least=1)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


class Store(dict[ContentHash, bytes]):
    """Keeps catalogs by their hash."""

    def put(self, data: bytes) -> ContentHash:
        content_hash = ContentHash.of(data)
        self[content_hash] = data
        return content_hash

    def draft(self, tree: Tree, size: CutSize) -> TreeDraft:
        return draft_tree(PLACE, tree, self.put, size)

    def load(self, reference: NestedCatalog) -> Catalog:
        assert len(self[reference.hash]) == reference.size
        return Catalog(self[reference.hash], reference.path)


def graft(repository: Repository, tree: Tree, size: CutSize = TINY) -> PreparedTree:
    prepared = repository.prepare(PLACE, tree, size)
    repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    return prepared


def catalogs_below(base: Path) -> set[bytes]:
    return {
        path.removeprefix(PLACE)
        for path in audit(base).catalogs
        if path.startswith(PLACE)
    }


# Where it is cut.


def cut_points(sizes: dict[bytes, int], size: CutSize) -> list[bytes]:
    """Return where a tree of so many entries per directory is cut."""
    parts = cut(sizes, size)
    listed = [path for part in parts for path in part.directories]
    assert sorted(listed) == sorted(sizes)  # each directory is in one part
    assert parts[-1].top == b""
    return [part.top for part in parts[:-1]]


def test_a_tree_of_up_to_the_limit_stays_whole() -> None:
    assert cut_points({b"": 3, b"a": 6, b"b": 3}, TINY) == []
    assert cut_points({b"": 3, b"a": 7, b"b": 3}, TINY) == [b"a"]
    many = {b"%d" % number: 1_499 for number in range(100)}
    assert cut_points({b"": 100, **many}, DEFAULT_CUT) == []
    assert cut_points({b"": 101, **many}, DEFAULT_CUT) != []


def test_the_heaviest_directories_are_cut_off_until_the_rest_is_small_enough() -> None:
    assert cut_points({b"": 4, b"a": 3, b"b": 5, b"c": 4, b"d": 1}, TINY) == [
        b"a",
        b"b",
        b"c",
    ]
    assert cut_points({b"": 2, b"a": 7, b"b": 4}, TINY) == [b"a"]


def test_no_catalog_is_made_of_a_handful_of_entries() -> None:
    handfuls = {b"%d" % number: 2 for number in range(20)}
    assert cut_points({b"": 20, **handfuls}, TINY) == []
    assert cut_points({b"": 1, b"in": 20, **{b"in/" + p: 2 for p in handfuls}}, TINY)


def test_a_deep_tree_is_cut_from_the_inside_outwards() -> None:
    path, sizes = b"", {b"": 3}
    for name in (b"a", b"b", b"c", b"d", b"e", b"f"):
        path = path + b"/" + name if path else name
        sizes[path] = 3
    assert cut_points(sizes, TINY) == [b"a/b/c/d/e", b"a/b/c", b"a"]


def test_a_directory_with_more_entries_than_the_limit_gets_a_catalog_of_its_own() -> (
    None
):
    sizes = {b"": 3, b"a": 5, b"a/huge": 100, b"a/huge/inner": 4, b"b": 2}
    assert cut_points(sizes, TINY) == [b"a/huge/inner", b"a/huge", b"a"]


def test_where_a_path_is_no_text_another_directory_is_cut_off() -> None:
    sizes = {b"": 4, b"\xff": 8, b"\xff/below": 9, b"a": 4}
    assert cut_points(sizes, TINY) == [b"a"]


def test_the_same_tree_is_cut_in_the_same_places_in_whatever_order_it_comes() -> None:
    names = [b"", b"a", b"b", b"c", b"d"]
    first = cut(dict.fromkeys(names, 4), TINY)
    again = cut(dict.fromkeys(reversed(names), 4), TINY)
    assert first == again
    assert len(first) > 1


def test_a_part_says_what_is_cut_off_from_it() -> None:
    sizes = {b"": 1, b"a": 5, b"a/b": 5, b"a/c": 5}
    assert cut(sizes, TINY) == [
        Part(b"a/b", [b"a/b"], []),
        Part(b"a/c", [b"a/c"], []),
        Part(b"", [b"", b"a"], [b"a/b", b"a/c"]),
    ]


@given(trees(), st.integers(1, 4), st.integers(1, 3))
def test_no_part_is_too_large_that_could_be_smaller_nor_too_small(
    tree: Tree, most: int, least: int
) -> None:
    size = CutSize(whole=0, most=most, least=least)
    parts = cut(tree.directories.weights(), size)
    for part in parts:
        rows = sum(len(tree.directories[path]) for path in part.directories)
        if part.top:
            assert rows >= least
        if rows > most:
            # Nothing is left in it that could be cut off: of what is directly in its
            # top, all that lies below is less than a catalog should have.
            below = [p for p in part.directories if p.rpartition(b"/")[0] == part.top]
            for path in below:
                inside = sum(
                    len(tree.directories[inner])
                    for inner in part.directories
                    if path and (inner == path or inner.startswith(path + b"/"))
                )
                assert inside < least or not is_text(path)


def is_text(path: bytes) -> bool:
    return path.decode(errors="replace").encode() == path


# What is written.


@given(trees(), st.sampled_from([EAGER, CutSize(2, 2, 1), CutSize(3, 3, 2)]))
def test_any_tree_read_back_is_the_same_however_it_is_cut(
    tree: Tree, size: CutSize
) -> None:
    store = Store()
    draft = store.draft(tree, size)
    assert read_tree(store.load(draft.catalog), store.load) == tree
    rows = sum(map(len, tree.directories.values()))
    nested = draft.counters.nested
    assert len(store) == nested + 1
    # Each catalog has a marker, and a mountpoint is a row of both.
    assert sum(draft.counters[:4]) == rows + 1 + (nested + 1) + nested
    again = Tree(tree.root, dict(reversed(list(tree.directories.items()))))
    assert Store().draft(again, size) == draft


def test_a_cut_tree_is_sound_for_two_independent_checks(
    repository: Repository, tmp_path: Path
) -> None:
    tree = wide_tree(repository.sink)
    prepared = graft(repository, tree)
    assert catalogs_below(tmp_path) == {
        b"",
        *(b"/" + top for top in WIDE_TREE_TOPS),
        *(b"/" + top + b"/inner" for top in WIDE_TREE_TOPS),
    }
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == tree
    assert gathered(repository.read_prepared(prepared)) == tree


def test_one_of_everything_survives_being_cut_to_pieces(
    repository: Repository, tmp_path: Path
) -> None:
    tree = small_tree(repository.sink)
    prepared = graft(repository, tree, EAGER)
    assert catalogs_below(tmp_path) == {b"", b"/bin"}
    assert prepared.losses == {}
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == tree


def test_both_rows_of_a_mountpoint_are_equal(
    repository: Repository, tmp_path: Path
) -> None:
    tree = wide_tree(repository.sink)
    attributes = ((b"user.long", b"v" * 256), (b"user.short", b"v"))
    changed = tree.directories[b""][b"b"]._replace(xattrs=attributes)
    tree.directories.put(b"", b"b", changed)
    prepared = graft(repository, tree)
    assert prepared.losses == {LOST_XATTR: 1}
    found = audit(tmp_path)
    outer, inner = (
        row_of(tmp_path, found.catalogs[path], b"b") for path in (PLACE, PLACE + b"/b")
    )
    assert (outer["flags"], inner["flags"]) == (3, 33)
    assert dict(outer) | {"flags": 0} == dict(inner) | {"flags": 0}
    assert inner["xattr"] is not None
    assert findings(tmp_path) == []


def row_of(base: Path, digest: str, name: bytes) -> sqlite3.Row:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(stored_object(base, digest, "C"))
        connection.row_factory = sqlite3.Row
        row: sqlite3.Row = connection.execute(
            "SELECT * FROM catalog WHERE name = CAST(? AS TEXT)", (name,)
        ).fetchone()
        return row


def test_hard_links_across_parts_are_split_and_counted_once() -> None:
    store = Store()
    hard = file(EMPTY_CONTENT, link_group=1)
    tree = Tree(
        directory(),
        {
            b"": {b"a": directory(), b"x": hard, b"y": hard},
            b"a": {b"b": directory(), b"x": hard, b"y": hard},
            b"a/b": {b"x": hard, b"y": hard, b"own": file(EMPTY_CONTENT, link_group=7)},
        },
    )
    draft = store.draft(tree, CutSize(1, 3, 1))
    assert draft.counters.nested == 2
    assert draft.losses == {LOST_LINK: 1}
    read = read_tree(store.load(draft.catalog), store.load)
    groups = {read.directories[path][b"x"].link_group for path in tree.directories}
    assert len(groups) == 3
    for entries in read.directories.values():
        assert entries[b"x"] == entries[b"y"]


def test_markers_of_the_image_are_left_out_wherever_it_is_cut() -> None:
    store = Store()
    theirs = file(EMPTY_CONTENT, mode=0o600)
    entries: Directory = {b"1": file(EMPTY_CONTENT), b".cvmfscatalog": theirs}
    tree = Tree(
        directory(),
        {
            b"": {b"a": directory(uid=4), b".cvmfscatalog": theirs},
            b"a": {b"b": directory(uid=5), **entries},
            b"a/b": dict(entries),
        },
    )
    draft = store.draft(tree, CutSize(1, 2, 2))
    assert draft.counters.nested == 2
    assert draft.losses == {LOST_MARKER: 3}
    read = read_tree(store.load(draft.catalog), store.load)
    assert read.directories == {
        path: {name: dirent for name, dirent in inside.items() if dirent != theirs}
        for path, inside in tree.directories.items()
    }


def test_a_directory_that_cannot_be_cut_is_written_all_the_same(
    repository: Repository, tmp_path: Path
) -> None:
    names = {b"%d" % number: file(EMPTY_CONTENT) for number in range(200)}
    tree = Tree(
        directory(),
        {b"": {b"a": directory(), b"\xff": directory()}, b"a": names, b"\xff": names},
    )
    graft(repository, tree)
    assert catalogs_below(tmp_path) == {b"", b"/a"}
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == tree


def test_rows_that_go_to_the_database_in_batches_are_all_there(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.cvmfs.catalog.row_writer._MOST_WAITING", 3)
    tree = small_tree(repository.sink)
    graft(repository, tree)
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == tree


def test_rows_go_to_the_database_when_their_targets_take_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.cvmfs.catalog.row_writer._MOST_BYTES_WAITING", 3000)
    monkeypatch.setattr("workers.cvmfs.catalog.row_writer._LOOK_EVERY", 1)
    waiting: list[int] = []
    insert = RowWriter.insert

    def counted(rows: RowWriter) -> None:
        waiting.append(len(rows._rows))
        insert(rows)

    monkeypatch.setattr(RowWriter, "insert", counted)
    link = Dirent(stat.S_IFLNK | 0o777, target=b"t" * 1000)
    tree = Tree(directory(), {b"": {b"%d" % number: link for number in range(7)}})
    draft_catalog(b"", tree)
    assert waiting == [3, 3, 1]


def test_long_targets_and_attributes_cut_a_tree_as_many_entries_do() -> None:
    long = Dirent(stat.S_IFLNK | 0o777, target=b"t" * 4000)
    many = file(EMPTY_CONTENT)._replace(xattrs=((b"user.a", b"v" * 4000),))
    tree = Tree(
        directory(),
        {
            b"": {b"a": directory()},
            b"a": {b"1": long, b"2": many, b"3": directory()},
            b"a/3": {},
        },
    )
    weights = {b"": 1, b"a": 3 + 8006 // 256, b"a/3": 0}
    assert tree.directories.weights() == weights
    tree.directories.pack()
    assert tree.directories.weights() == weights


@pytest.mark.parametrize(
    "directories",
    [
        {b"": {}, b"a/b": {b"1": file(EMPTY_CONTENT), b"2": file(EMPTY_CONTENT)}},
        {b"": {b"a": file(EMPTY_CONTENT)}, b"a": {b"b": file(EMPTY_CONTENT)}},
        {b"a": {b"1": file(EMPTY_CONTENT), b"2": file(EMPTY_CONTENT)}},
        {b"": {b"a": directory(), b"b": directory()}, b"a": {}},
    ],
)
def test_a_large_tree_that_contradicts_itself_is_refused(
    directories: dict[bytes, Directory],
) -> None:
    with pytest.raises(InvalidTree):
        Store().draft(Tree(directory(), directories), EAGER)


# What becomes of it.


def test_publishing_a_cut_tree_again_changes_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    first = graft(repository, wide_tree(repository.sink))
    stored = objects(tmp_path)
    head = repository.head()
    again = graft(repository, wide_tree(repository.sink))
    assert again.hash == first.hash
    assert repository.head() == head
    assert objects(tmp_path) == stored


def test_a_small_change_writes_only_the_catalogs_around_it(
    repository: Repository, tmp_path: Path
) -> None:
    graft(repository, wide_tree(repository.sink))
    stored = objects(tmp_path)
    tree = wide_tree(repository.sink)
    tree.directories.drop(b"c/inner", b"0")
    repository.prepare(PLACE, tree, TINY)
    # c/inner, c and the tree's own
    assert len(objects(tmp_path)) == len(stored) + 3
    graft(repository, tree)
    assert repository.read().tree(PLACE) == tree


def test_removing_a_cut_tree_gives_back_all_its_counters(
    repository: Repository, tmp_path: Path
) -> None:
    other = b"/.flat/ab/other"
    small = small_tree(repository.sink)
    repository.commit([GraftTree(other, repository.prepare(other, small))], now=NOW)
    before = repository.read().root_catalog.statistics
    graft(repository, wide_tree(repository.sink))
    assert repository.read().root_catalog.statistics != before
    repository.commit([RemovePath(PLACE)], now=NOW)
    assert repository.read().root_catalog.statistics == before
    assert catalogs_below(tmp_path) == set()
    assert findings(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [DEFAULT_CUT, TINY, EAGER])
def test_a_cut_tree_is_replaced_by_another(
    repository: Repository, tmp_path: Path, size: CutSize
) -> None:
    graft(repository, wide_tree(repository.sink))
    tree = wide_tree(repository.sink, b"other text", files=3)
    tree.directories.drop(b"", b"a")
    del tree.directories[b"a"], tree.directories[b"a/inner"]
    graft(repository, tree, size)
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == tree
    graft(repository, wide_tree(repository.sink))
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == wide_tree(repository.sink)


def test_paths_in_a_cut_tree_are_found_listed_and_walked(
    repository: Repository,
) -> None:
    graft(repository, wide_tree(repository.sink))
    snapshot = repository.read()
    deep = snapshot.lookup(PLACE + b"/d/inner/3")
    assert deep is not None
    assert snapshot.read(deep) == b"text"
    assert set(snapshot.listdir(PLACE + b"/d")) == {
        *(b"inner", b"0", b"1", b"2", b"3", b".cvmfscatalog")
    }
    walked = [path for path, _ in snapshot.walk(PLACE)]
    files = [path for path in walked if not path.endswith(b"/.cvmfscatalog")]
    assert len(files) == 1 + 5 * (1 + 4 + 1 + 4)


def test_collection_keeps_all_of_a_cut_tree_and_takes_all_of_one_that_is_gone(
    repository: Repository, tmp_path: Path
) -> None:
    empty = objects(tmp_path)
    graft(repository, wide_tree(repository.sink))
    collect(tmp_path)
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == wide_tree(repository.sink)
    repository.commit([RemovePath(b"/.flat")], now=NOW)
    repository.commit([PutLink(b"/link", b"target")], now=NOW)
    collect(tmp_path)
    catalogs = {path for path in objects(tmp_path) - empty if path.endswith("C")}
    assert len(catalogs) == 2  # the root catalogs of the last two revisions
    assert findings(tmp_path) == []


def test_a_tag_keeps_a_cut_tree_and_leads_back_to_it(
    repository: Repository, tmp_path: Path
) -> None:
    storage = LocalStorage(tmp_path)
    graft(repository, wide_tree(repository.sink))
    add_tag(FQRN, storage, keys(), "cut", now=NOW)
    repository.commit([RemovePath(PLACE)], now=NOW + 1)
    collect(tmp_path)
    roll_back(FQRN, storage, keys(), "cut", now=NOW + 2)
    assert findings(tmp_path) == []
    assert repository.read().tree(PLACE) == wide_tree(repository.sink)
