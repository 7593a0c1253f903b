"""What apptainer needs is in the image, and what the image has stays."""

import json
import stat

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import LayerStack
from workers.cvmfs import Tree
from workers.formats.singularity import (
    MOUNT_POINTS,
    add_singularity,
)
from workers.images.manifest import ImageConfig
from workers.images.platforms import Platform

LINUX = Platform.parse("linux/amd64")


def with_singularity(
    *layers: list[bytes], config: ImageConfig | None = None
) -> LayerStack:
    stack = LayerStack(*layers)
    add_singularity(stack.tree, config or ImageConfig(LINUX, ()), stack.sink.put_bytes)
    assert stack.listing  # checks that the tree is a tree
    return stack


def test_an_empty_image_gets_all_that_is_needed() -> None:
    stack = with_singularity()
    paths = stack.paths
    assert set(MOUNT_POINTS) <= paths
    assert {b".singularity.d/libs", b".singularity.d/actions/exec"} <= paths
    assert stack[b"tmp"].mode == stack[b"var/tmp"].mode == 0o1777
    assert stack[b"var"].mode == 0o755
    assert stack[b"etc/hosts"].size == 0
    assert stack[b"singularity"].target == b".singularity.d/runscript"
    assert stack[b".singularity.d/runscript"].mode == 0o755
    assert stack.content(b".singularity.d/runscript").startswith(b"#!/bin/sh\n")
    for path in paths:
        entry = stack[path]
        assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 0)


def test_what_the_image_has_stays_as_it_is() -> None:
    layer = [
        tars.directory(b"tmp", mode=0o700, uid=5, mtime=7),
        tars.directory(b"root", mode=0o550),
        tars.file(b"etc/hosts", b"own", mode=0o600),
        tars.file(b"environment", b"own"),
        tars.symlink(b".run", b"own"),
    ]
    stack = with_singularity(layer)
    before = LayerStack(layer).listing
    for path in (b"tmp", b"root", b"etc/hosts", b"environment", b".run"):
        assert stack[path] == before[path]


def test_mount_points_behind_symlinks_are_made_where_those_lead() -> None:
    stack = with_singularity(
        [tars.symlink(b"var", b"data/var"), tars.symlink(b"etc", b"/conf")],
        [tars.directory(b"data/var"), tars.directory(b"conf")],
    )
    assert {b"data/var/tmp", b"conf/hosts"} <= stack.paths
    assert stack[b"var"].type == stack[b"etc"].type == "symlink"


def test_files_that_are_bound_over_are_no_symlinks() -> None:
    """On Debian resolv.conf leads to /run, where nothing is before the system runs."""
    stack = with_singularity(
        [
            tars.symlink(b"etc/resolv.conf", b"../run/systemd/resolv.conf"),
            tars.directory(b"etc/hosts"),
            tars.file(b"etc/hosts/x"),
        ]
    )
    for path in (b"etc/resolv.conf", b"etc/hosts"):
        assert (stack[path].type, stack[path].size) == ("file", 0)


@pytest.mark.parametrize(
    "obstacle",
    [
        tars.file(b"etc"),
        tars.symlink(b"etc", b"etc"),
        tars.symlink(b"etc", b"no/where"),
        tars.file(b"var"),
        tars.file(b".singularity.d"),
        tars.symlink(b".singularity.d", b"loop/.singularity.d"),
        tars.fifo(b".singularity.d/env"),
        tars.directory(b".singularity.d/runscript"),
        tars.symlink(b".singularity.d", b"/etc"),
    ],
)
def test_odd_images_are_left_odd_and_not_refused(obstacle: bytes) -> None:
    with_singularity([tars.symlink(b"loop", b"loop"), obstacle])


@pytest.mark.parametrize(
    "folder",
    [b".singularity.d", b".singularity.d/actions", b".singularity.d/env"],
)
@pytest.mark.parametrize("target", [b"/usr/bin", b"usr/bin", b"../usr/bin", b"/"])
def test_nothing_is_written_through_links_of_the_image(
    folder: bytes, target: bytes
) -> None:
    """As ``test``, ``exec`` and ``run`` are names of programs, too."""
    layer = [
        tars.directory(b"usr/bin", mode=0o711),
        tars.file(b"usr/bin/test", b"own"),
        tars.file(b"runscript", b"own"),
        tars.symlink(folder, target),
    ]
    stack = with_singularity(layer)
    before = LayerStack(layer).listing
    for path, entry in before.items():
        if path not in {folder, b""}:
            assert stack[path] == entry
    ours = {path for path in set(stack.paths) - set(before) if b"bin" in path}
    assert ours == set()
    assert stack[folder].type == "directory"
    assert stack.content(b".singularity.d/actions/test").startswith(b"#!/bin/sh\n")
    assert stack[b".singularity.d/libs"].type == "directory"


def test_scripts_of_an_older_conversion_are_replaced() -> None:
    old = [tars.file(b".singularity.d/runscript", b"old", mode=0o644)]
    stack = with_singularity(old)
    assert stack.content(b".singularity.d/runscript") != b"old"
    assert stack[b".singularity.d/runscript"].mode == 0o755


def test_labels_are_written_as_json() -> None:
    labels = {"org.label": 'quote " ü \n', "a": ""}
    stack = with_singularity(config=ImageConfig(LINUX, (), labels=labels))
    assert json.loads(stack.content(b".singularity.d/labels.json")) == labels
    assert stack[b".singularity.d/labels.json"].mode == 0o644


def test_the_paths_that_are_ours_are_told() -> None:
    layer = [tars.directory(b"etc"), tars.file(b"etc/hosts")]
    tree: Tree = LayerStack(layer).tree
    before = set(LayerStack(layer).listing)
    stack = LayerStack(layer)
    added = add_singularity(stack.tree, ImageConfig(LINUX, ()), stack.sink.put_bytes)
    assert added == set(stack.listing) - before
    assert stat.S_ISDIR(tree.root.mode)
