"""Symlinks are followed to where ``merge`` finds that they lead."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.layer_trees import layer
from workers.cvmfs import Dirent, Tree
from workers.images.layers.expected_symlinks import ExpectedSymlinks
from workers.images.layers.paths_in_tree import IMPLIED, LoopOfSymlinks, Paths
from workers.images.layers.steps import Steps

PLACES = [b"a", b"b", b"c", b"d/a", b"d/b", b"d/e/a"]
PARTS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"..", b".", b""])
TARGETS = st.lists(PARTS, min_size=1, max_size=5).map(b"/".join).filter(bool)


def expected(tree: Tree, steps: Steps | None = None) -> ExpectedSymlinks:
    def get(path: bytes) -> Dirent | None:
        directory, _, name = path.rpartition(b"/")
        return tree.directories.find(directory, name)

    return ExpectedSymlinks(get, steps or Steps())


@given(st.dictionaries(st.sampled_from(PLACES), TARGETS), st.lists(TARGETS, min_size=1))
def test_both_ways_find_the_same(
    symlinks: dict[bytes, bytes], asked: list[bytes]
) -> None:
    tree = Tree(IMPLIED, {b"": {b"d": IMPLIED}, b"d": {b"e": IMPLIED}, b"d/e": {}})
    for place, target in symlinks.items():
        directory, _, name = place.rpartition(b"/")
        tree.directories.put(directory, name, Dirent(0o120777, target=target))
    paths, others = Paths(tree), expected(tree)
    for path in asked:
        try:
            found = paths.follow(path)
        except LoopOfSymlinks:
            others.follow(path)
        else:
            assert others.follow(path) == found


def test_a_symlink_is_followed_once_however_many_paths_go_through_it() -> None:
    target = b"d/../" * 500 + b"d"
    tree = layer(
        tars.directory(b"d"), tars.gnu_link(target, tars.symlink(b"s", b""))
    ).tree
    steps = Steps()
    symlinks = expected(tree, steps)
    for n in range(100):
        assert symlinks.follow(b"s/%d" % n) == b"d/%d" % n
    assert steps.taken < 2 * 500 + 100 * 4
