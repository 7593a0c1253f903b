"""What the members of one layer come to, in their order."""

import stat

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import entry_at, layer, names
from tests.support.repositories.memory_sink import MemorySink
from workers.cvmfs import Dirent


def test_of_two_members_with_one_name_the_last_counts() -> None:
    read = layer(tars.file(b"a", b"1", mode=0o600), tars.file(b"a", b"2", mode=0o644))
    assert stat.S_IMODE(entry_at(read, b"a").mode) == 0o644


def test_directories_that_no_member_names_are_implied() -> None:
    read = layer(tars.file(b"a/b/c"), tars.directory(b"a/d"))
    assert read.implied == {b"", b"a", b"a/b"}
    assert entry_at(read, b"a") == Dirent(stat.S_IFDIR | 0o755)


def test_a_directory_that_is_named_after_its_entries_is_not_implied() -> None:
    read = layer(tars.file(b"a/b"), tars.directory(b"a", mode=0o700))
    assert read.implied == {b""}
    assert stat.S_IMODE(entry_at(read, b"a").mode) == 0o700
    assert names(read) == {b"a", b"a/b"}


def test_a_directory_that_is_named_twice_keeps_its_entries() -> None:
    read = layer(
        tars.directory(b"a"), tars.file(b"a/b"), tars.directory(b"a", mode=0o1)
    )
    assert names(read) == {b"a", b"a/b"}
    assert stat.S_IMODE(entry_at(read, b"a").mode) == 0o1


def test_a_file_over_a_directory_takes_its_entries_away() -> None:
    read = layer(
        tars.directory(b"a"),
        tars.file(b"a/b/c"),
        tars.opaque(b"a/b"),
        tars.whiteout(b"a/x"),
        tars.hard_link(b"a/b/link", b"elsewhere"),
        tars.file(b"a"),
    )
    assert names(read) == {b"a"}
    assert (read.implied, read.opaque) == ({b""}, set())
    assert (read.whiteouts, read.links) == ({}, {})


@pytest.mark.parametrize(
    "first", [tars.file(b"a"), tars.symlink(b"a", b"b"), tars.hard_link(b"a", b"lower")]
)
def test_a_directory_over_something_else_hides_what_lies_below(first: bytes) -> None:
    for entry in (tars.directory(b"a"), tars.directory(b"./a/")):
        read = layer(first, entry)
        assert read.opaque == {b"a"}
        assert read.implied == {b""}
        assert read.links.get(b"", {}) == {}


def test_a_directory_implied_over_a_file_hides_what_lies_below() -> None:
    read = layer(tars.file(b"a"), tars.file(b"a/b"))
    assert names(read) == {b"a", b"a/b"}
    assert (read.opaque, read.implied) == ({b"a"}, {b""})


def test_members_go_through_symlinks_of_their_own_layer() -> None:
    read = layer(
        tars.symlink(b"lib", b"usr/lib"),
        tars.file(b"lib/a"),
        tars.symlink(b"usr/share", b"/opt/../data"),
        tars.file(b"usr/share/b"),
        tars.symlink(b"usr/up", b"../../../top"),
        tars.directory(b"usr/up/c"),
    )
    wanted = {
        b"lib",
        b"usr",
        b"usr/lib",
        b"usr/lib/a",
        b"usr/share",
        b"data",
        b"data/b",
    }
    assert names(read) == wanted | {b"usr/up", b"top", b"top/c"}


def test_where_a_symlink_leads_may_change_on_the_way() -> None:
    read = layer(tars.symlink(b"a", b"/"), tars.file(b"a/a"), tars.file(b"a/a"))
    assert names(read) == {b"a", b"a/a"}
    assert stat.S_ISDIR(entry_at(read, b"a").mode)


def test_a_directory_over_a_symlink_of_the_layer_replaces_it() -> None:
    read = layer(
        tars.symlink(b"lib", b"usr/lib"), tars.directory(b"lib"), tars.file(b"lib/a")
    )
    assert names(read) == {b"lib", b"lib/a"}


# Hard links.


def test_hard_links_share_content_metadata_and_a_group() -> None:
    read = layer(
        tars.file(b"a", b"1", mode=0o751, uid=9),
        tars.hard_link(b"d/b", b"a", mode=0, uid=1),
        tars.hard_link(b"c", b"./d/b"),
        tars.hard_link(b"e", b"/c"),  # as Kaniko writes them
        tars.file(b"other"),
        tars.hard_link(b"other2", b"other"),
    )
    group = {entry_at(read, path) for path in (b"a", b"d/b", b"c", b"e")}
    assert len(group) == 1
    assert entry_at(read, b"a").link_group != entry_at(read, b"other").link_group
    assert (
        entry_at(read, b"other").link_group == entry_at(read, b"other2").link_group != 0
    )


@pytest.mark.parametrize(
    "target",
    [
        tars.symlink(b"a", b"b", uid=5),
        tars.fifo(b"a", uid=5),
        tars.character_device(b"a", 1, 3, uid=5),
    ],
)
def test_anything_but_a_directory_can_be_linked(target: bytes) -> None:
    read = layer(target, tars.hard_link(b"h", b"a"))
    assert entry_at(read, b"h") == entry_at(read, b"a")
    assert entry_at(read, b"h").link_group


def test_a_link_keeps_the_file_that_its_target_was() -> None:
    read = layer(
        tars.file(b"a", mode=0o111), tars.hard_link(b"b", b"a"), tars.file(b"a")
    )
    assert stat.S_IMODE(entry_at(read, b"b").mode) == 0o111
    assert entry_at(read, b"a").link_group == 0


def test_a_link_may_replace_the_directory_that_its_target_is_in() -> None:
    read = layer(tars.file(b"d/f", mode=0o123), tars.hard_link(b"d", b"d/f"))
    assert names(read) == {b"d"}
    assert stat.S_IMODE(entry_at(read, b"d").mode) == 0o123


def test_a_link_to_itself_changes_nothing() -> None:
    read = layer(tars.file(b"a", mode=0o123), tars.hard_link(b"a", b"a"))
    assert stat.S_IMODE(entry_at(read, b"a").mode) == 0o123


def test_links_go_through_symlinks_of_their_own_layer() -> None:
    read = layer(
        tars.symlink(b"s", b"/d"),
        tars.file(b"d/a"),
        tars.hard_link(b"b", b"s/a"),
        tars.hard_link(b"c", b"s/lower"),
    )
    assert entry_at(read, b"b").link_group == entry_at(read, b"d/a").link_group != 0
    assert read.links == {b"": {b"c": b"d/lower"}}


def test_what_the_layer_does_not_have_is_linked_to_in_a_lower_one() -> None:
    read = layer(
        tars.hard_link(b"x/a", b"usr/bin/tool"),
        tars.hard_link(b"b", b"x/a"),
        tars.hard_link(b"replaced", b"lower"),
        tars.file(b"replaced"),
        tars.hard_link(b"again", b"lower"),
        tars.hard_link(b"again", b"lower2"),
    )
    assert read.links == {
        b"x": {b"a": b"usr/bin/tool"},
        b"": {b"b": b"usr/bin/tool", b"again": b"lower2"},
    }
    assert names(read) == {b"x", b"replaced"}


def test_links_into_the_folder_of_aufs_keep_their_file_and_the_folder_goes() -> None:
    read = layer(
        tars.directory(b".wh..wh.plnk"),
        tars.file(b".wh..wh.plnk/12.34", b"1", mode=0o123),
        tars.hard_link(b"a", b".wh..wh.plnk/12.34"),
        tars.directory(b".wh..wh.orph"),
        tars.file(b".wh..wh.aufs"),
    )
    assert names(read) == {b"a"}
    assert stat.S_IMODE(entry_at(read, b"a").mode) == 0o123
    assert (read.whiteouts, read.implied) == ({}, {b""})


# Whiteouts.


def test_whiteouts_are_kept_apart_from_entries() -> None:
    read = layer(
        tars.whiteout(b"a"),
        tars.whiteout(b"d/b"),
        tars.member(b"d/.wh.c", b"5"),  # whatever its type
        tars.file(b"a"),
    )
    assert read.whiteouts == {b"": {b"a"}, b"d": {b"b", b"c"}}
    assert names(read) == {b"a"}


def test_the_content_of_whiteouts_is_stored_nowhere() -> None:
    sink = MemorySink()
    layer(tars.file(b".wh.a", b"content"), sink=sink)
    assert sink.objects == {}


def test_opaque_directories_are_marked() -> None:
    read = layer(
        tars.opaque(b""), tars.directory(b"a"), tars.opaque(b"a"), tars.opaque(b"b")
    )
    assert read.opaque == {b"", b"a", b"b"}
    assert names(read) == {b"a"}


@pytest.mark.parametrize("first", [tars.file(b"a"), tars.hard_link(b"a", b"lower")])
def test_whiteouts_below_what_is_no_directory_mean_nothing(first: bytes) -> None:
    read = layer(first, tars.whiteout(b"a/b"), tars.opaque(b"a/c/d"))
    assert (read.whiteouts, read.opaque) == ({}, set())


@pytest.mark.parametrize("is_first", [True, False])
def test_whiteouts_where_all_is_deleted_anyway_mean_nothing(
    is_first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """An overlay would show those in a directory that it does not merge."""
    deletions = [tars.opaque(b"opaque"), tars.whiteout(b"gone"), tars.whiteout(b"back")]
    idle = [
        tars.whiteout(b"opaque/a"),
        tars.whiteout(b"opaque/b/c/d"),
        tars.opaque(b"opaque/b"),
        tars.whiteout(b"gone/a"),
        tars.opaque(b"gone/b"),
        tars.whiteout(b"back/a"),
        tars.opaque(b"back"),
    ]
    entries = [tars.directory(b"back"), tars.file(b"opaque/b/new")]
    read = layer(*entries, *(deletions + idle if is_first else idle + deletions))
    assert read.whiteouts == {b"": {b"gone", b"back"}}
    assert read.opaque == {b"opaque"}


def test_an_opaque_root_leaves_the_other_deletions_as_they_are() -> None:
    """To an overlay that alone deletes nothing."""
    read = layer(tars.opaque(b""), tars.whiteout(b"a"), tars.opaque(b"b"))
    assert (read.whiteouts, read.opaque) == ({b"": {b"a"}}, {b"", b"b"})


def test_whiteouts_go_through_symlinks_of_their_own_layer() -> None:
    read = layer(tars.symlink(b"lib", b"usr/lib"), tars.whiteout(b"lib/a"))
    assert read.whiteouts == {b"usr/lib": {b"a"}}
    assert names(read) == {b"lib"}


def test_what_aufs_keeps_for_itself_is_no_whiteout() -> None:
    read = layer(tars.file(b"d/.wh..wh.something"))
    assert (read.whiteouts, names(read)) == ({}, set())
