"""Layers on top of each other, case by case; ``test_merge_model`` does the rest."""

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import LayerStack
from workers.images.layers.merge import merge
from workers.images.rejected import ImageRejected


def refused(match: str, *layers: list[bytes]) -> None:
    with pytest.raises(ImageRejected, match=match):
        LayerStack(*layers)


def test_no_layer_at_all_is_an_empty_root() -> None:
    tree = merge([])
    assert tree.directories == {b"": {}}


def test_an_upper_layer_adds_and_replaces() -> None:
    stack = LayerStack(
        [tars.file(b"a", b"1"), tars.file(b"d/b", b"2"), tars.file(b"d/c", b"3")],
        [tars.file(b"d/b", b"4", mode=0o600), tars.file(b"e", b"5")],
    )
    assert stack.paths == {b"a", b"d", b"d/b", b"d/c", b"e"}
    assert stack.content(b"d/b") == b"4"
    assert stack[b"d/b"].mode == 0o600
    assert stack.content(b"d/c") == b"3"


def test_merging_leaves_the_layers_as_they_are() -> None:
    entries = [tars.file(b"a/b"), tars.hard_link(b"a/c", b"a/b"), tars.directory(b"d")]
    upper = [tars.whiteout(b"a/b"), tars.hard_link(b"x", b"a/c"), tars.file(b"a/e")]
    stack = LayerStack(entries, upper)
    again = LayerStack(entries, upper)
    assert merge(stack.layers) == stack.tree
    assert stack.layers == again.layers


# Directories.


def test_a_directory_that_is_named_gets_the_upper_metadata_and_keeps_its_entries() -> (
    None
):
    lower = tars.xattrs({b"user.a": b"1"}, tars.directory(b"d", mode=0o700, uid=1))
    stack = LayerStack(
        [lower, tars.file(b"d/a")],
        [tars.directory(b"d", mode=0o1777, gid=5, mtime=7), tars.file(b"d/b")],
    )
    assert stack.paths == {b"d", b"d/a", b"d/b"}
    directory = stack[b"d"]
    assert (directory.mode, directory.uid, directory.gid) == (0o1777, 0, 5)
    assert (directory.mtime, directory.xattrs) == (7 * 10**9, ())


def test_a_directory_that_is_not_named_stays_as_it_is_below() -> None:
    stack = LayerStack(
        [tars.directory(b"d", mode=0o2750, uid=1, mtime=3)], [tars.file(b"d/e/a")]
    )
    assert (stack[b"d"].mode, stack[b"d"].uid) == (0o2750, 1)
    assert stack[b"d"].mtime == 3 * 10**9
    assert (stack[b"d/e"].mode, stack[b"d/e"].uid, stack[b"d/e"].mtime) == (0o755, 0, 0)


def test_the_root_is_what_the_uppermost_layer_that_names_it_says() -> None:
    stack = LayerStack(
        [tars.directory(b"./", mode=0o700)],
        [tars.directory(b"./", mode=0o711, uid=2)],
        [tars.file(b"a")],
    )
    assert (stack[b""].mode, stack[b""].uid) == (0o711, 2)
    assert (LayerStack([tars.file(b"a")])[b""].mode) == 0o755


@pytest.mark.parametrize(
    "upper", [tars.file(b"x", b"1"), tars.symlink(b"x", b"y"), tars.fifo(b"x")]
)
def test_anything_over_a_directory_takes_its_entries_away(upper: bytes) -> None:
    stack = LayerStack([tars.file(b"x/y/z"), tars.file(b"y/k")], [upper])
    assert stack.paths == {b"x", b"y", b"y/k"}


@pytest.mark.parametrize(
    "lower", [tars.file(b"x", b"1"), tars.symlink(b"x", b"y"), tars.fifo(b"x")]
)
def test_a_directory_replaces_anything(lower: bytes) -> None:
    stack = LayerStack(
        [lower, tars.file(b"y/k")], [tars.directory(b"x"), tars.file(b"x/a")]
    )
    assert stack.paths == {b"x", b"x/a", b"y", b"y/k"}
    assert stack[b"x"].type == "directory"


def test_a_file_becomes_a_directory_when_an_upper_layer_puts_something_in_it() -> None:
    stack = LayerStack([tars.file(b"x")], [tars.file(b"x/a")])
    assert stack.paths == {b"x", b"x/a"}


def test_types_change_back_and_forth() -> None:
    stack = LayerStack(
        [tars.file(b"x/old")],
        [tars.file(b"x")],
        [tars.directory(b"x"), tars.file(b"x/new")],
    )
    assert stack.paths == {b"x", b"x/new"}


# Symlinks to directories.


def test_what_goes_through_a_lower_symlink_lands_where_it_leads() -> None:
    stack = LayerStack(
        [tars.directory(b"usr/lib", mode=0o751), tars.symlink(b"lib", b"usr/lib")],
        [tars.file(b"lib/a"), tars.file(b"lib/new/b")],
    )
    assert stack[b"lib"].type == "symlink"
    assert stack.paths >= {b"usr/lib/a", b"usr/lib/new/b"}
    assert stack[b"usr/lib"].mode == 0o751


@pytest.mark.parametrize(
    "target", [b"/usr/lib", b"../../usr/lib", b"u/lib", b"./usr//lib/"]
)
def test_symlinks_lead_as_they_would_in_a_container(target: bytes) -> None:
    stack = LayerStack(
        [tars.directory(b"usr/lib"), tars.symlink(b"u", b"/usr")],
        [tars.symlink(b"lib", target)],
        [tars.file(b"lib/a")],
    )
    assert b"usr/lib/a" in stack.paths


def test_a_symlink_that_leads_nowhere_gets_its_directory() -> None:
    stack = LayerStack([tars.symlink(b"a", b"b/c")], [tars.file(b"a/d")])
    assert stack.paths == {b"a", b"b", b"b/c", b"b/c/d"}


def test_deletions_go_through_lower_symlinks_too() -> None:
    stack = LayerStack(
        [
            tars.file(b"usr/lib/a"),
            tars.file(b"usr/lib/b"),
            tars.symlink(b"lib", b"usr/lib"),
        ],
        [tars.whiteout(b"lib/a")],
    )
    assert stack.paths == {b"usr", b"usr/lib", b"usr/lib/b", b"lib"}


def test_a_directory_over_a_symlink_leaves_alone_where_that_led() -> None:
    stack = LayerStack(
        [tars.file(b"usr/lib/a"), tars.symlink(b"lib", b"usr/lib")],
        [tars.directory(b"lib"), tars.file(b"lib/b"), tars.whiteout(b"lib/a")],
    )
    assert stack.paths == {b"usr", b"usr/lib", b"usr/lib/a", b"lib", b"lib/b"}


def test_a_loop_of_lower_symlinks_is_refused_when_somebody_goes_through() -> None:
    loop = [tars.symlink(b"a", b"b"), tars.symlink(b"b", b"a")]
    assert LayerStack(loop, [tars.file(b"c")]).paths == {b"a", b"b", b"c"}
    refused("loop of symlinks", loop, [tars.file(b"a/x")])
    refused("loop of symlinks", loop, [tars.hard_link(b"x", b"a/x")])


# Deletions.


def test_a_whiteout_deletes_files_and_whole_directories() -> None:
    stack = LayerStack(
        [tars.file(b"a"), tars.file(b"d/e/f"), tars.file(b"d2/g"), tars.file(b"d2/h")],
        [tars.whiteout(b"a"), tars.whiteout(b"d"), tars.whiteout(b"d2/g")],
    )
    assert stack.paths == {b"d2", b"d2/h"}


@pytest.mark.parametrize("order", ["deletions first", "deletions last"])
def test_a_whiteout_deletes_nothing_of_its_own_layer(order: str) -> None:
    added = [tars.file(b"a", b"new"), tars.directory(b"d"), tars.file(b"d/new")]
    deleted = [tars.whiteout(b"a"), tars.whiteout(b"d")]
    upper = deleted + added if order == "deletions first" else added + deleted
    stack = LayerStack([tars.file(b"a", b"old"), tars.file(b"d/old")], upper)
    assert stack.paths == {b"a", b"d", b"d/new"}
    assert stack.content(b"a") == b"new"


@pytest.mark.parametrize("order", ["deletions first", "deletions last"])
def test_an_opaque_directory_hides_lower_layers_but_not_its_own(order: str) -> None:
    added = [tars.file(b"d/new"), tars.file(b"d/e/new")]
    upper = (
        [tars.opaque(b"d"), *added]
        if order == "deletions first"
        else [*added, tars.opaque(b"d")]
    )
    stack = LayerStack(
        [tars.directory(b"d", mode=0o700), tars.file(b"d/old"), tars.file(b"d/e/old")],
        [tars.file(b"d/older")],
        upper,
    )
    assert stack.paths == {b"d", b"d/new", b"d/e", b"d/e/new"}
    assert stack[b"d"].mode == 0o700


def test_what_is_put_back_above_an_opaque_directory_is_there() -> None:
    stack = LayerStack([tars.file(b"d/a")], [tars.opaque(b"d")], [tars.file(b"d/a")])
    assert stack.paths == {b"d", b"d/a"}


def test_an_opaque_root_hides_everything() -> None:
    stack = LayerStack(
        [tars.file(b"d/a"), tars.file(b"b")], [tars.opaque(b""), tars.file(b"c")]
    )
    assert stack.paths == {b"c"}


def test_deletions_of_what_is_not_there_make_nothing() -> None:
    stack = LayerStack(
        [tars.file(b"f")],
        [tars.whiteout(b"a"), tars.whiteout(b"d/e/b"), tars.opaque(b"o/p")],
        [tars.whiteout(b"f/x")],
    )
    assert stack.paths == {b"f"}
    assert LayerStack([tars.whiteout(b"a"), tars.file(b"b")]).paths == {b"b"}


def test_what_is_deleted_and_made_anew_has_nothing_of_the_old() -> None:
    stack = LayerStack(
        [tars.directory(b"d", mode=0o700, uid=7), tars.file(b"d/old")],
        [tars.whiteout(b"d"), tars.file(b"d/new")],
    )
    assert stack.paths == {b"d", b"d/new"}
    assert (stack[b"d"].mode, stack[b"d"].uid) == (0o755, 0)


# Hard links.


def test_groups_of_hard_links_stay_apart_across_layers() -> None:
    entries = [tars.file(b"a"), tars.hard_link(b"b", b"a")]
    upper = [
        tars.file(b"c"),
        tars.hard_link(b"d", b"c"),
        tars.file(b"x/e"),
        tars.hard_link(b"f", b"x/e"),
    ]
    stack = LayerStack(entries, upper)
    linked = {path: stack[path].linked for path in stack.paths}
    assert linked == {
        b"a": b"a",
        b"b": b"a",
        b"c": b"c",
        b"d": b"c",
        b"f": b"f",
        b"x/e": b"f",
        b"x": b"",
    }


def test_a_link_to_a_lower_file_joins_its_group() -> None:
    stack = LayerStack(
        [tars.file(b"usr/a", b"1", mode=0o4755, uid=3), tars.symlink(b"u", b"usr")],
        [tars.hard_link(b"new/b", b"usr/a")],
        [tars.hard_link(b"c", b"u/a"), tars.hard_link(b"d", b"/new/b")],
    )
    names = {b"usr/a", b"new/b", b"c", b"d"}
    assert {stack[name].linked for name in names} == {b"c"}
    assert {stack[name].mode for name in names} == {0o4755}
    assert stack.content(b"d") == b"1"


def test_a_link_to_a_lower_file_replaces_what_has_its_name() -> None:
    stack = LayerStack(
        [tars.file(b"a", b"1"), tars.file(b"d/x"), tars.file(b"f")],
        [tars.hard_link(b"d", b"a"), tars.hard_link(b"f", b"a")],
    )
    assert stack.paths == {b"a", b"d", b"f"}
    assert stack.content(b"d") == stack.content(b"f") == b"1"


def test_a_link_outlives_the_lower_name_that_its_layer_deletes_or_replaces() -> None:
    stack = LayerStack(
        [tars.file(b"a", b"1"), tars.file(b"b", b"2")],
        [
            tars.hard_link(b"x", b"a"),
            tars.hard_link(b"y", b"b"),
            tars.whiteout(b"a"),
            tars.file(b"b", b"3"),
        ],
    )
    assert stack.paths == {b"b", b"x", b"y"}
    assert (stack.content(b"x"), stack.content(b"y")) == (b"1", b"2")
    assert stack[b"b"].linked == b""


def test_a_name_that_is_replaced_leaves_its_group() -> None:
    stack = LayerStack(
        [tars.file(b"a", b"1"), tars.hard_link(b"b", b"a"), tars.hard_link(b"c", b"a")],
        [tars.file(b"b", b"2")],
    )
    assert stack[b"b"].linked == b""
    assert stack[b"a"].linked == stack[b"c"].linked == b"a"


def test_a_link_through_a_lower_symlink_lands_where_it_leads() -> None:
    stack = LayerStack(
        [tars.file(b"usr/a"), tars.symlink(b"u", b"usr")],
        [tars.hard_link(b"u/b", b"usr/a")],
    )
    assert stack[b"usr/b"].linked == b"usr/a"


def test_a_link_to_a_lower_symlink_that_is_passed_through_is_one_to_the_symlink() -> (
    None
):
    stack = LayerStack(
        [tars.directory(b"d"), tars.symlink(b"s", b"d")],
        [tars.file(b"s/a"), tars.hard_link(b"s/b", b"s")],
    )
    assert stack.paths == {b"d", b"d/a", b"d/b", b"s"}
    assert stack[b"d/b"].type == "symlink"


@pytest.mark.parametrize("target", [b"nothing", b"no/thing", b"", b"."])
def test_a_hard_link_to_nothing_is_refused(target: bytes) -> None:
    refused("which is not a file", [tars.file(b"a")], [tars.hard_link(b"x", target)])
    refused("which is not a file", [tars.hard_link(b"x", target)])


def test_a_hard_link_to_a_lower_directory_is_refused() -> None:
    refused("which is not a file", [tars.file(b"d/a")], [tars.hard_link(b"x", b"d")])
    refused("which is not a file", [tars.file(b"d/a"), tars.hard_link(b"x", b"d")])


# Size.


def test_two_thousand_directories_in_each_other_are_merged() -> None:
    path = b"d/" * 2000
    lower = [tars.gnu_name(path + b"a", tars.file(b"x"))]
    upper = [tars.gnu_name(path + b"b", tars.file(b"x")), tars.opaque(b"d/d/d")]
    assert len(LayerStack(lower, lower).tree.directories) == 2001
    tree = LayerStack(lower, upper).tree
    assert set(tree.directories[path.rstrip(b"/")]) == {b"b"}


def test_a_hundred_layers_are_merged() -> None:
    layers = [
        [tars.file(b"own/%d" % n), tars.file(b"shared", b"%d" % n)] for n in range(100)
    ]
    stack = LayerStack(*layers)
    assert len(stack.paths) == 102
    assert stack.content(b"shared") == b"99"
