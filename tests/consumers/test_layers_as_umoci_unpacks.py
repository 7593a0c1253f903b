"""What we make of an image is what umoci unpacks, entry for entry, as root.

Where we differ on purpose, the difference stands in a test of its own, with the reason.
"""

import dataclasses
import io
import os
import subprocess
import sysconfig
import tarfile
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.debian_images import debian_image
from tests.support.images.drawn_layers import DrawnLayers
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.layer_trees import LayerStack, layer_of
from tests.support.images.oci import Image, build_image, read_layout, write_layout
from tests.support.images.tree_listing import Listing, differences, list_tree
from tests.support.repositories.memory_sink import MemorySink
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import umoci_unpack
from workers.images.layers.budget import Budget
from workers.images.layers.merge import merge


@pytest.fixture(autouse=True)
def _umoci() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make devices and foreign owners")
    require_program("umoci")


def unpacked_by_umoci(image: Image, folder: Path) -> Listing:
    write_layout(folder / "layout", "test", image)
    return umoci_unpack(folder / "layout", "test", folder / "bundle")


def compare(
    layers: list[list[bytes]], folder: Path
) -> tuple[Listing, Listing, list[str]]:
    """Return umoci's listing, ours, and the differences."""
    image = build_image([tars.tar(*entries) for entries in layers])
    theirs = unpacked_by_umoci(image, folder)
    ours = LayerStack(*layers).listing
    return theirs, ours, differences(theirs, ours, names=("umoci", "ours"))


@pytest.mark.parametrize("name", HARD_CASES)
def test_hard_cases_are_as_umoci_unpacks_them(name: str, tmp_path: Path) -> None:
    assert compare(HARD_CASES[name], tmp_path)[2] == []


# A real image.


def written_by_python(folder: Path) -> bytes:
    """Return a tar of an installed package, in GNU's format, by an independent tool."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(folder, "opt/package")
    return file.getvalue()


def changes() -> bytes:
    """Return a layer that changes much of what Debian has."""
    return tars.tar(
        tars.whiteout(b"usr/share/doc"),
        tars.whiteout(b"etc/hostname"),
        tars.whiteout(b"usr/lib/os-release"),
        tars.opaque(b"var/lib/apt"),
        tars.directory(b"var/lib/apt/lists", mode=0o700, uid=100, mtime=1),
        tars.directory(b"usr/share/man", mtime=1),
        tars.opaque(b"usr/share/man"),
        tars.whiteout(b"etc/skel"),
        tars.symlink(b"etc/skel", b"../usr/share", mtime=1),  # over a directory
        tars.directory(b"bin", mode=0o755, mtime=1),  # over a symlink
        tars.file(b"bin/only", b"1", mode=0o4755, mtime=1),
        tars.file(b"lib/through-a-symlink", b"1", mtime=1),
        tars.whiteout(b"lib64/nothing"),
        tars.hard_link(b"usr/bin/perl-again", b"usr/bin/perl"),
        tars.hard_link(b"etc/passwd-again", b"/etc/passwd"),
        tars.file(b"etc/group", b"root:x:0:\n", mode=0o600, uid=4_000_000_000, mtime=1),
        tars.file(b"var/mail", b"was a directory", mtime=1),
        tars.directory(b"etc/issue", mtime=1),  # over a file
        tars.file(b"etc/issue/file", b"1", mode=0, mtime=1),
        tars.character_device(b"dev/null-again", 1, 3, mode=0o666, mtime=1),
        tars.fifo(b"run/fifo", mtime=1),
        tars.pax({b"path": b"etc/\xff\xfe"}, tars.file(b"x", b"1", mtime=1)),
        tars.xattrs(
            {b"security.capability": bytes.fromhex("01000002002000" + 13 * "00")},
            tars.file(b"usr/bin/ping", b"1", mode=0o755, mtime=1),
        ),
    )


def test_a_debian_with_packages_and_changes_is_as_umoci_unpacks_it(
    tmp_path: Path,
) -> None:
    layers = read_layout(debian_image()).layers
    package = Path(sysconfig.get_paths()["stdlib"]) / "asyncio"
    image = build_image([*layers, written_by_python(package), changes()])
    sink = MemorySink()
    read = [
        layer_of(layer.blob, sink, Budget(1 << 34, 100_000)) for layer in image.layers
    ]
    assert [layer.diff_id for layer in read] == [
        layer.diff_id for layer in image.layers
    ]
    theirs = unpacked_by_umoci(image, tmp_path)
    ours = list_tree(merge(read), sink.pieces)
    assert len(ours) > 10_000
    assert differences(theirs, ours, names=("umoci", "ours")) == []


# Any image.


@settings(max_examples=20)
@given(data=st.data())
def test_drawn_images_are_as_umoci_unpacks_them(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The model of ``test_merge_model`` is thereby held against a real tool."""
    drawn = DrawnLayers(data)
    layers = [drawn.layer() for _ in range(data.draw(st.integers(1, 3)))]
    image = build_image([tars.tar(*entries) for entries in layers])
    try:
        theirs = unpacked_by_umoci(image, tmp_path_factory.mktemp("drawn"))
    except subprocess.CalledProcessError:
        # It cannot make a directory where a file is, unless a member names it.
        event("refused by umoci")
        return
    ours = LayerStack(*layers).listing
    # Directories that no member names are told of below.
    times = [path for path, entry in ours.items() if entry.type == "directory"]
    for path in times:
        theirs[path] = dataclasses.replace(theirs[path], mtime=ours[path].mtime)
    assert differences(theirs, ours, names=("umoci", "ours")) == []


# Where we differ on purpose.


def test_directories_that_no_member_names_have_no_time_of_unpacking(
    tmp_path: Path,
) -> None:
    """An image published twice must be the same twice."""
    layers = [[tars.directory(b"./", mtime=1), tars.file(b"a/b/c", b"1", mtime=1)]]
    theirs, ours, found = compare(layers, tmp_path)
    assert {line.partition(" is ")[0] for line in found} == {
        "b'': mtime",  # it made a directory in it
        "b'a': mtime",
        "b'a/b': mtime",
    }
    assert ours[b"a"].mtime == ours[b"a/b"].mtime == 0
    assert theirs[b"a"].mode == ours[b"a"].mode


def test_what_lies_below_the_name_of_a_whiteout_is_in_a_directory_of_that_name(
    tmp_path: Path,
) -> None:
    """The directory is one that no member names: its own is a whiteout."""
    layers = [
        [tars.directory(b"d", mtime=1), tars.file(b"d/a", b"1", mtime=1)],
        [tars.directory(b"d/.wh.a", mode=0o700), tars.file(b"d/.wh.a/f", mtime=1)],
    ]
    theirs, ours, found = compare(layers, tmp_path)
    assert theirs.keys() == ours.keys() == {b"", b"d", b"d/.wh.a", b"d/.wh.a/f"}
    assert {line.partition(" is ")[0] for line in found} <= {
        "b'': mtime",
        "b'd': mtime",
        "b'd/.wh.a': mtime",
    }


def test_attributes_without_a_value_are_kept(tmp_path: Path) -> None:
    """Go's tar drops them; Docker and containerd do not use that part of it."""
    entry = tars.xattrs({b"user.empty": b""}, tars.file(b"a", mtime=1))
    layers = [[tars.directory(b"./", mtime=1), entry]]
    theirs, ours, _ = compare(layers, tmp_path)
    assert ours[b"a"] == dataclasses.replace(
        theirs[b"a"], xattrs=((b"user.empty", b""),)
    )


def test_marks_of_overlay_file_systems_are_dropped(tmp_path: Path) -> None:
    """In a layer of a store they would hide what lies below it."""
    entry = tars.xattrs(
        {b"trusted.overlay.opaque": b"y"}, tars.directory(b"d", mtime=1)
    )
    theirs, ours, _ = compare([[tars.directory(b"./", mtime=1), entry]], tmp_path)
    assert ours[b"d"] == dataclasses.replace(theirs[b"d"], xattrs=())


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        (
            tars.old_gnu_sparse(b"a", 5000, [(4096, b"x")]),
            bytes(4096) + b"x" + bytes(903),
        ),
        (tars.member(b"a", b"7", b"contiguous"), b"contiguous"),
    ],
    ids=["old GNU sparse", "contiguous"],
)
def test_old_sorts_of_files_are_read(
    entry: bytes, content: bytes, tmp_path: Path
) -> None:
    """Go's tar reads them, but umoci does not know them."""
    assert LayerStack([entry]).content(b"a") == content
    with pytest.raises(subprocess.CalledProcessError):
        unpacked_by_umoci(build_image([tars.tar(entry)]), tmp_path)


def test_a_file_makes_way_for_a_directory_that_no_member_names(tmp_path: Path) -> None:
    """umoci does it since version 0.5."""
    layers = [[tars.file(b"a", b"1")], [tars.file(b"a/b", b"2")]]
    assert LayerStack(*layers).content(b"a/b") == b"2"
    with pytest.raises(subprocess.CalledProcessError):
        compare(layers, tmp_path)
