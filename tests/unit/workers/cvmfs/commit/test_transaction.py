import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.repositories.independent_audit import audit
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    directory,
    file,
    is_mountpoint,
    keys,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    Change,
    Content,
    GraftTree,
    LocalStorage,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    Tree,
)
from workers.cvmfs.errors import (
    InvalidChange,
    InvalidPath,
    InvalidTree,
    NotFound,
    StorageFailed,
)

PLACE = b"/.flat/ab/abcdef"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def graft(repository: Repository, path: bytes, tree: Tree | None = None) -> GraftTree:
    if tree is None:
        tree = small_tree(repository.sink)
    return GraftTree(path, repository.prepare(path, tree))


def test_missing_parents_are_made_and_some_get_a_catalog(
    repository: Repository, tmp_path: Path
) -> None:
    changes: list[Change] = [
        PutLink(b"/registry/group/deep/image:tag", b"../x"),
        PutLink(b"/plain/deep/link", b"x"),
        graft(repository, PLACE),
    ]
    repository.commit(changes, now=NOW + 7)
    found = audit(tmp_path)
    assert set(found.catalogs) == {
        b"",
        b"/.flat",
        b"/.flat/ab",
        PLACE,
        b"/registry",
        b"/registry/group",
    }
    for path in (b"/plain", b"/plain/deep", b"/registry", b"/.flat/ab"):
        assert found.modes[path] == stat.S_IFDIR | 0o755
        made = repository.read().lookup(path)
        assert made is not None
        assert (made.uid, made.gid, made.mtime) == (0, 0, NOW + 7)


def test_only_catalogs_on_the_way_to_a_change_are_rewritten(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(
        [
            graft(repository, PLACE),
            graft(repository, b"/.flat/cd/cdef"),
            PutLink(b"/registry/group/image:tag", b"x"),
        ],
        now=NOW,
    )
    before = audit(tmp_path).catalogs
    repository.commit([graft(repository, b"/.flat/ab/more")], now=NOW)
    after = audit(tmp_path).catalogs
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {b"", b"/.flat", b"/.flat/ab"}
    assert set(after) - set(before) == {b"/.flat/ab/more"}


def test_a_mountpoint_is_removed_without_its_own_objects_being_read(
    repository: Repository, tmp_path: Path
) -> None:
    inner = graft(repository, PLACE)
    repository.commit([inner], now=NOW)
    for path in (tmp_path / "data").glob("??/*"):
        if path.name[-1] not in "CHXM":
            path.unlink()
    repository.commit([RemovePath(b"/.flat/ab")], now=NOW)
    assert audit(tmp_path, contents=False).catalogs.keys() == {b"", b"/.flat"}


def test_removing_a_plain_directory_takes_the_catalogs_below_along(
    repository: Repository, tmp_path: Path
) -> None:
    content = repository.sink.put_bytes(b"x")
    chunked = repository.sink.put_bytes(bytes(16 * 1024 * 1024 + 1))
    repository.commit(
        [
            PutFile(b"/plain/a/file", content),
            PutFile(b"/plain/a/chunked", chunked),
            graft(repository, b"/plain/a/image"),
            graft(repository, b"/plain/b/image"),
            PutLink(b"/kept", b"x"),
        ],
        now=NOW,
    )
    assert len(audit(tmp_path).catalogs) == 3
    repository.commit([RemovePath(b"/plain")], now=NOW)
    assert set(audit(tmp_path).modes) == {b"", b"/kept"}


def test_removing_nothing_changes_nothing(repository: Repository) -> None:
    paths = [b"/x", b"/x/y/z"]
    revision = repository.commit([RemovePath(path) for path in paths], now=NOW)
    assert not revision.is_new


@pytest.mark.parametrize("old", ["link", "file", "directory", "image"])
@pytest.mark.parametrize("new", ["link", "file", "image"])
def test_anything_can_take_the_place_of_anything(
    repository: Repository, tmp_path: Path, old: str, new: str
) -> None:
    place = b"/registry/group/place"
    content = repository.sink.put_bytes(b"content")
    other = Tree(directory(0o700), {b"": {b"other": file(content)}})
    changes: dict[str, list[Change]] = {
        "link": [PutLink(place, b"target")],
        "file": [PutFile(place, content, 0o600)],
        "directory": [PutFile(place + b"/a/b", content), PutLink(place + b"/c", b"x")],
        "image": [graft(repository, place)],
    }
    repository.commit(changes[old], now=NOW)
    if old == new:
        changes = {
            "link": [PutLink(place, b"other")],
            "file": [PutFile(place, repository.sink.put_bytes(b"other"))],
            "image": [graft(repository, place, other)],
        }
    revision = repository.commit(changes[new], now=NOW + 1)
    assert revision.number == 3
    found = audit(tmp_path)
    kind = {"link": stat.S_IFLNK, "file": stat.S_IFREG, "image": stat.S_IFDIR}[new]
    assert stat.S_IFMT(found.modes[place]) == kind
    assert (place in found.catalogs) is (new == "image")
    parent = repository.read().lookup(b"/registry/group")
    assert parent is not None
    assert parent.mtime == NOW + 1


def test_the_same_changes_in_one_commit_or_in_many_are_the_same_tree(
    tmp_path: Path,
) -> None:
    def changes(repository: Repository) -> list[Change]:
        return [
            graft(repository, PLACE),
            PutLink(b"/registry/group/a", b"x"),
            graft(repository, b"/.flat/ab/second"),
            PutFile(PLACE + b"/bin/added", repository.sink.put_bytes(b"y")),
            RemovePath(PLACE + b"/bin/one"),
            PutLink(b"/registry/group/a", b"z"),
            RemovePath(b"/.flat/ab/second"),
        ]

    (tmp_path / "one").mkdir()
    one = new_repository(tmp_path / "one")
    one.commit(changes(one), now=NOW)
    (tmp_path / "many").mkdir()
    many = new_repository(tmp_path / "many")
    for change in changes(many):
        many.commit([change], now=NOW)
    found = audit(tmp_path / "one")
    assert found.modes == audit(tmp_path / "many").modes
    assert found.contents[PLACE + b"/bin/added"] == b"y"
    assert many.head().revision == 8


def test_a_graft_replaces_what_was_changed_inside_in_the_same_commit(
    repository: Repository, tmp_path: Path
) -> None:
    change = graft(repository, PLACE)
    repository.commit([change], now=NOW)
    inside = PutLink(PLACE + b"/inside", b"x")
    repository.commit([inside, change, PutLink(b"/link", b"x")], now=NOW)
    found = audit(tmp_path)
    assert PLACE + b"/inside" not in found.modes
    repository.commit([change, inside], now=NOW)
    assert PLACE + b"/inside" in audit(tmp_path).modes


def test_something_made_and_removed_in_one_commit_is_not_there(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(
        [
            PutLink(b"/registry/group/image", b"x"),
            graft(repository, b"/registry/group/tree"),
            RemovePath(b"/registry"),
            PutLink(b"/registry/other/image", b"x"),
        ],
        now=NOW,
    )
    found = audit(tmp_path)
    assert set(found.catalogs) == {b"", b"/registry", b"/registry/other"}


def test_times_and_owners_of_links_and_files_can_be_chosen(
    repository: Repository,
) -> None:
    content = repository.sink.put_bytes(b"x")
    changes: list[Change] = [
        PutLink(b"/a", b"x", uid=5, gid=6, mtime=-7),
        PutFile(b"/b", content, 0o4711, uid=8, gid=9, mtime=10),
    ]
    repository.commit(changes, now=NOW)
    snapshot = repository.read()
    link, regular = snapshot.lookup(b"/a"), snapshot.lookup(b"/b")
    assert link is not None
    assert regular is not None
    assert (link.mode, link.uid, link.gid, link.mtime) == (0o120777, 5, 6, -7)
    assert regular == file(content, 0o4711, uid=8, gid=9, mtime=10)
    assert not repository.commit(changes, now=NOW + 1).is_new
    later = PutLink(b"/a", b"x", uid=5, gid=6, mtime=-6)
    assert repository.commit([later], now=NOW + 1).is_new


def test_a_time_that_was_not_asked_for_is_no_difference(
    repository: Repository,
) -> None:
    content = repository.sink.put_bytes(b"x")
    repository.commit([PutLink(b"/a", b"x"), PutFile(b"/b", content)], now=NOW)
    same: list[Change] = [PutLink(b"/a", b"x"), PutFile(b"/b", content)]
    assert not repository.commit(same, now=NOW + 1).is_new
    assert repository.commit([PutFile(b"/b", content, 0o755)], now=NOW + 1).is_new
    entry = repository.read().lookup(b"/b")
    assert entry is not None
    assert entry.mtime == NOW + 1


def many_links(text: bytes) -> list[Change]:
    """Return changes in so many catalogs that they are opened and written at once."""
    shards = [b"/.flat/%02x" % number for number in range(20)]
    return [PutLink(shard + b"/" + text, text) for shard in shards]


def test_many_catalogs_at_once_are_as_sound_as_one(
    repository: Repository, tmp_path: Path
) -> None:
    for text in (b"first", b"second", b"third"):
        repository.commit([*many_links(text), PutLink(b"/plain/link", text)], now=NOW)
    found = audit(tmp_path)
    assert len(found.catalogs) == 22
    for text in (b"first", b"second", b"third"):
        assert all(change.path in found.modes for change in many_links(text))
    assert repository.commit([RemovePath(b"/.flat")], now=NOW).number == 5
    assert audit(tmp_path).catalogs.keys() == {b""}


def test_a_catalog_that_is_gone_harms_only_those_who_need_it(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(many_links(b"first"), now=NOW)
    gone = audit(tmp_path).catalogs[b"/.flat/07"]
    (tmp_path / "data" / gone[:2] / f"{gone[2:]}C").unlink()
    batches = [repository.batch([change]) for change in many_links(b"second")]
    with repository.storage.lock():
        committed = repository.commit_batches(batches, now=NOW, confirm=lambda _: {})
    assert list(committed.left_out) == [batches[7]]
    assert isinstance(committed.left_out[batches[7]], NotFound)
    there = [
        repository.read().lookup(change.path) is not None
        for number, change in enumerate(many_links(b"second"))
        if number != 7
    ]
    assert there == [True] * 19


def test_no_catalog_is_named_that_could_not_be_stored(
    repository: Repository, tmp_path: Path
) -> None:
    class Full(LocalStorage):
        """A storage that has room for some catalogs."""

        room = 12

        def put(self, path: str, data: bytes) -> bool:
            self.room -= 1
            if self.room < 0:
                raise StorageFailed(f"{path}: no space left")
            return super().put(path, data)

    repository.commit(many_links(b"first"), now=NOW)
    before = audit(tmp_path).fields
    full = Repository(FQRN, Full(tmp_path), keys(), is_mountpoint=is_mountpoint)
    with pytest.raises(StorageFailed, match="no space left"):
        full.commit(many_links(b"second"), now=NOW)
    assert audit(tmp_path).fields == before


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"", InvalidChange),
        (b"/.cvmfs/x", InvalidChange),
        (b"/.flat/.cvmfscatalog", InvalidChange),
        (b"/.cvmfscatalog", InvalidChange),
        (b"x", InvalidPath),
        (b"/x/../y", InvalidPath),
        (b"/x\0", InvalidPath),
        (b"/file/x", InvalidChange),
        (b"/link/x", InvalidChange),
    ],
)
def test_a_change_that_cannot_be_made_undoes_the_whole_commit(
    repository: Repository, tmp_path: Path, path: bytes, error: type[Exception]
) -> None:
    content = repository.sink.put_bytes(b"x")
    repository.commit([PutFile(b"/file", content), PutLink(b"/link", b"x")], now=NOW)
    before = audit(tmp_path).fields
    with pytest.raises(error):
        repository.commit([PutLink(b"/fine", b"x"), PutLink(path, b"x")], now=NOW)
    assert audit(tmp_path).fields == before


def test_a_tree_is_mounted_where_it_was_prepared_for_only(
    repository: Repository,
) -> None:
    prepared = graft(repository, PLACE).prepared
    with pytest.raises(InvalidChange, match="cannot be mounted at"):
        repository.commit([GraftTree(PLACE + b"0", prepared)], now=NOW)


def test_entries_that_contradict_themselves_are_refused(
    repository: Repository,
) -> None:
    for change in (
        PutLink(b"/a", b""),
        PutFile(b"/a", Content(None, 3)),
        PutLink(b"/a", b"x", mtime=2**64),
    ):
        with pytest.raises(InvalidTree):
            repository.commit([change], now=NOW)


def test_many_removals_leave_no_holes(repository: Repository, tmp_path: Path) -> None:
    changes = [PutLink(b"/plain/%03d" % number, b"x") for number in range(300)]
    repository.commit(changes, now=NOW)
    size = repository.head().root_catalog_size
    repository.commit([RemovePath(change.path) for change in changes[:299]], now=NOW)
    assert repository.head().root_catalog_size < size / 2
    audit(tmp_path)


_PATHS = st.sampled_from(
    [
        b"/.flat/aa/1",
        b"/.flat/aa/2",
        b"/.flat/bb/1",
        b"/.flat/aa",
        b"/.flat",
        b"/registry/a/x",
        b"/registry/a/y",
        b"/registry/b/x",
        b"/registry/a",
        b"/plain/x",
        b"/plain/x/y",
        b"/plain",
        b"/.flat/aa/1/bin/new",
        b"/.flat/aa/1/bin",
    ]
)
_CHANGES = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["graft", "link", "file", "remove"]), _PATHS),
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(_CHANGES)
def test_any_sequence_of_commits_leaves_a_sound_repository(
    tmp_path_factory: pytest.TempPathFactory, commits: list[list[tuple[str, bytes]]]
) -> None:
    base = tmp_path_factory.mktemp("repository")
    repository = new_repository(base)
    content = repository.sink.put_bytes(b"content")
    for number, commit in enumerate(commits):
        changes: list[Change] = []
        for verb, path in commit:
            if verb == "graft":
                changes.append(graft(repository, path))
            elif verb == "link":
                changes.append(PutLink(path, b"%d" % number))
            elif verb == "file":
                changes.append(PutFile(path, content))
            else:
                changes.append(RemovePath(path))
        try:
            repository.commit(changes, now=NOW + number)
        except InvalidChange:
            continue  # something is below a file or a link
        found = audit(base)
        final = {path: verb for verb, path in commit}
        for path, verb in final.items():
            later = [p for _, p in commit[[p for _, p in commit].index(path) :]]
            if verb == "link" and not any(
                p != path and (p.startswith(path + b"/") or path.startswith(p + b"/"))
                for p in later
            ):
                assert stat.S_ISLNK(found.modes[path])
