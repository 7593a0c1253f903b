"""Paths through symlinks and deep directories end somewhere, or are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.bombs import symlinks
from tests.support.images.layer_trees import layer, layer_of, names
from tests.support.repositories.repository_builders import streamed
from workers.cvmfs import Directories, Dirent, Tree
from workers.images.layers.budget import Budget
from workers.images.layers.merge import merge
from workers.images.layers.paths_in_tree import IMPLIED, LoopOfSymlinks, Paths
from workers.images.layers.steps import Steps
from workers.images.layers.verify import verify
from workers.images.rejected import ImageRejected


def refused(match: str, *entries: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer(*entries)


def test_loops_of_symlinks_are_links_until_somebody_goes_through() -> None:
    loop = (tars.symlink(b"a", b"b"), tars.symlink(b"b", b"a"))
    assert names(layer(*loop)) == {b"a", b"b"}
    refused("loop of symlinks", *loop, tars.file(b"a/x"))
    refused("loop of symlinks", *loop, tars.hard_link(b"h", b"b/x"))
    refused("loop of symlinks", tars.symlink(b"s", b"s/s"), tars.file(b"s/x"))


def test_symlinks_that_lead_too_deep_are_refused() -> None:
    deep = b"/".join([b"d" * 250] * 16)
    refused(
        "too deep",
        tars.gnu_link(deep, tars.symlink(b"a", b"")),
        tars.file(b"a/" + b"x" * 80 + b"/y"),
    )


def test_two_thousand_directories_may_lie_in_each_other() -> None:
    path = b"d/" * 2000
    read = layer(tars.gnu_name(path + b"f", tars.file(b"x", b"1")))
    assert len(read.tree.directories) == 2001
    read = layer(tars.gnu_name(path + b"f", tars.file(b"x", b"1")), tars.file(b"d"))
    assert names(read) == {b"d"}


# What it takes.


def steps_of(*layers: list[bytes]) -> tuple[int, int, int]:
    """Return the steps of reading layers, of merging them, and of verifying that."""
    reading, merging, verifying = Steps(), Steps(), Steps()
    read = [
        layer_of(tars.tar(*entries), None, Budget(1 << 20, 100_000), reading)
        for entries in layers
    ]
    verify(streamed(merge(read, merging)), read, (), verifying)
    return reading.taken, merging.taken, verifying.taken


def test_the_steps_of_a_layer_grow_no_faster_than_its_entries() -> None:
    """All of them through a chain of symlinks, each to where the next of them is."""
    few = steps_of([*symlinks(40, 1500)])
    many = steps_of([*symlinks(40, 15_000)])
    chain = 40 * 2 * 801
    for before, after in zip(few, many, strict=True):
        assert after <= 10 * before
        assert after <= chain + 4 * 15_000


def test_so_do_those_of_layers_on_top_of_each_other() -> None:
    """The symlinks below, and above what goes through them: members and deletions."""

    def upper(count: int) -> list[bytes]:
        return [
            entry
            for n in range(count // 3)
            for entry in (
                tars.file(b"L0/%d/f" % n),
                tars.whiteout(b"L1/w%d/x" % n),
                tars.hard_link(b"h%d" % n, b"L2/kept"),
            )
        ]

    below = [*symlinks(40, 0), tars.file(b"d/kept", b"1")]
    few, many = steps_of(below, upper(1500)), steps_of(below, upper(15_000))
    chain = 40 * 2 * 801
    for before, after in zip(few, many, strict=True):
        assert after <= 10 * before
        assert after <= 4 * chain + 10 * 15_000


def test_symlinks_of_which_each_is_followed_once_are_a_layer_like_others() -> None:
    def entries(count: int) -> list[bytes]:
        return [
            entry
            for n in range(count)
            for entry in (
                tars.symlink(b"s%d" % n, b"d/../d/%d" % n),
                tars.file(b"s%d/f" % n, b"1"),
            )
        ]

    few, many = steps_of(entries(1500)), steps_of(entries(7500))
    assert all(after <= 5.1 * before for before, after in zip(few, many, strict=True))


PLACES = [b"a", b"b", b"d/a", b"d/b", b"d/e"]
TARGETS = [b"/", b"b", b"a/b", b"d", b"../d/e", b"/d/a/x", b"d/e/../b"]


@given(st.data())
def test_where_symlinks_lead_is_known_anew_after_each_change(
    data: st.DataObject,
) -> None:
    tree = Tree(IMPLIED)
    paths = Paths(tree)
    for _ in range(data.draw(st.integers(1, 12))):
        directory, _, name = data.draw(st.sampled_from(PLACES)).rpartition(b"/")
        place = paths.make_directories(directory) if directory else b""
        change = data.draw(st.sampled_from(["put", "make", "remove", "share"]))
        if change == "put":
            paths.remove(place, name)
            target = data.draw(st.sampled_from(TARGETS))
            paths.put(place, name, Dirent(0o120777, target=target))
        elif change == "remove":
            paths.remove(place, name)
        elif change == "share":
            target = data.draw(st.sampled_from(TARGETS))
            other = Directories({b"": {b"a": Dirent(0o120777, target=target)}})
            if tree.directories.is_empty(place):
                paths.share(place, other, b"")
        else:
            try:
                paths.make_directories(data.draw(st.sampled_from(PLACES)))
            except LoopOfSymlinks:
                continue
        for path in (b"a/x", b"b/a", b"d/a/b", b"d/e/x", b"a/a/a"):
            assert outcome(paths, path) == outcome(Paths(tree), path)


def outcome(paths: Paths, path: bytes) -> bytes | None:
    try:
        return paths.follow(path)
    except LoopOfSymlinks:
        return None
