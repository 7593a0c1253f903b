"""The second derivation agrees with the merge, and notices what differs."""

import os
import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.drawn_layers import DrawnLayers
from tests.support.images.layer_trees import LayerStack
from tests.support.repositories.repository_builders import streamed
from workers.cvmfs import Content, Dirent, Tree
from workers.images.layers.verify import VerificationFailed, verify


@given(st.data())
def test_both_derivations_agree_whatever_the_layers(data: st.DataObject) -> None:
    layers = DrawnLayers(data)
    count = data.draw(st.integers(1, 4))
    stack = LayerStack(*[layers.layer() for _ in range(count)])
    verify(streamed(stack.tree), stack.layers, ())


@pytest.fixture
def stack() -> LayerStack:
    return LayerStack(
        [
            tars.directory(b"bin", mode=0o750),
            tars.file(b"bin/true", b"#!", mode=0o4755),
            tars.file(b"bin/old", b"old"),
            tars.symlink(b"lib", b"usr/lib"),
            tars.directory(b"usr/lib"),
        ],
        [
            tars.whiteout(b"bin/old"),
            tars.file(b"lib/new.so", b"elf"),
            tars.hard_link(b"bin/yes", b"bin/true"),
            tars.file(b"bin/a", b"a"),
            tars.hard_link(b"bin/b", b"bin/a"),
        ],
    )


def test_what_was_merged_is_verified(stack: LayerStack) -> None:
    verify(streamed(stack.tree), stack.layers, ())


def changed(stack: LayerStack, path: bytes, dirent: Dirent | None) -> Tree:
    directory, name = os.path.split(path)
    entries = dict(stack.tree.directories[directory])
    if dirent is None:
        del entries[name]
    else:
        entries[name] = dirent
    return Tree(stack.tree.root, {**stack.tree.directories, directory: entries})


TRUE = b"bin/true"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", stat.S_IFREG | 0o755),
        ("uid", 7),
        ("mtime", 1),
        ("mtime_ns", 1),
        ("content", Content(b"0" * 20, 2)),
        ("xattrs", ((b"user.a", b"b"),)),
        ("link_group", 0),
    ],
)
def test_an_entry_that_differs_in_one_field_is_noticed(
    stack: LayerStack, field: str, value: Any
) -> None:
    dirent = stack.tree.directories[b"bin"][b"true"]._replace(**{field: value})
    with pytest.raises(VerificationFailed, match="/bin") as caught:
        verify(streamed(changed(stack, TRUE, dirent)), stack.layers, ())
    assert "Dirent" not in str(caught.value)


def test_a_missing_entry_is_noticed(stack: LayerStack) -> None:
    with pytest.raises(VerificationFailed, match="/bin/true is missing"):
        verify(streamed(changed(stack, TRUE, None)), stack.layers, ())


def test_an_entry_too_many_is_noticed_unless_it_is_ours(stack: LayerStack) -> None:
    tree = changed(stack, b"bin/old", Dirent(stat.S_IFREG | 0o644))
    with pytest.raises(VerificationFailed, match="/bin/old should not be there"):
        verify(streamed(tree), stack.layers, ())
    verify(streamed(tree), stack.layers, {b"bin/old"})


def test_other_attributes_of_the_root_are_noticed(stack: LayerStack) -> None:
    tree = Tree(stack.tree.root._replace(uid=1), stack.tree.directories)
    with pytest.raises(VerificationFailed, match="/ has other attributes"):
        verify(streamed(tree), stack.layers, ())


def test_a_missing_file_whose_name_only_ends_like_a_marker_is_noticed() -> None:
    stack = LayerStack([tars.file(b"x.cvmfscatalog", b"")])
    with pytest.raises(VerificationFailed, match=r"x\.cvmfscatalog is missing"):
        verify(streamed(changed(stack, b"x.cvmfscatalog", None)), stack.layers, ())


def test_what_a_layer_hides_in_a_directory_that_it_replaces_does_not_matter() -> None:
    for hiding in (tars.opaque(b"d"), tars.whiteout(b"d/gone")):
        stack = LayerStack(
            [tars.file(b"d/gone", b"")], [hiding, tars.file(b"d", b"file")]
        )
        verify(streamed(stack.tree), stack.layers, ())
        assert stack.paths == {b"d"}


def test_a_directory_that_a_layer_removes_while_it_goes_through_it_is_made_again() -> (
    None
):
    stack = LayerStack(
        [tars.symlink(b"b", b"a")],
        [tars.directory(b"a"), tars.directory(b"b/a"), tars.fifo(b"a")],
    )
    verify(streamed(stack.tree), stack.layers, ())


def test_what_was_in_a_directory_that_we_replaced_does_not_matter() -> None:
    stack = LayerStack(
        [tars.file(b"etc/hosts/theirs", b""), tars.file(b"etc/other", b"")]
    )
    tree = stack.tree
    del tree.directories[b"etc/hosts"]
    tree.directories.put(b"etc", b"hosts", Dirent(stat.S_IFREG | 0o644))
    verify(streamed(tree), stack.layers, {b"etc/hosts"})
    with pytest.raises(VerificationFailed, match="/etc/hosts"):
        verify(streamed(tree), stack.layers, ())


def test_a_directory_whose_entries_were_not_written_is_noticed(
    stack: LayerStack,
) -> None:
    directories = {**stack.tree.directories}
    del directories[b"usr/lib"]
    with pytest.raises(VerificationFailed, match="/usr/lib is missing"):
        verify(streamed(Tree(stack.tree.root, directories)), stack.layers, ())


def test_layers_are_left_as_they_are_by_what_is_derived_from_them(
    stack: LayerStack,
) -> None:
    before = [
        {path: dict(entries) for path, entries in layer.tree.directories.items()}
        for layer in stack.layers
    ]
    verify(streamed(stack.tree), stack.layers, ())
    assert [layer.tree.directories for layer in stack.layers] == before
