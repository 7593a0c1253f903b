"""The kernel's overlay makes of the published layers what umoci unpacks.

Podman, CRI-O and containerd have nothing else. Exported, so that no client is needed;
``tests/compat`` has it from the mount.
"""

import dataclasses
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import stacked_paths
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.layer_trees import LayerStack, as_stacked
from tests.support.images.oci import Image, build_image, write_layout
from tests.support.images.reported_images import REPORTED_IMAGES
from tests.support.images.tree_listing import Listing, differences, list_directory
from tests.support.tools.mounting import may_mount
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import as_cvmfs_holds_it, umoci_unpack
from workers.exporting import export_directory

pytestmark = pytest.mark.skipif(not may_mount(), reason="mounting needs root")

CASES = {**HARD_CASES, **REPORTED_IMAGES}
# Where an overlay cannot show what umoci unpacks, whoever unpacks the layers for it.
THROUGH_SYMLINKS = "a layer cannot put anything through a symlink of a lower one"
NOT_MERGED = "whiteouts in a directory that no lower layer has are listed"
DIFFERENT: dict[str, tuple[str, set[bytes]]] = {
    "deletions": (NOT_MERGED, {b"never", b"never/was"}),
    "changes of type": (
        THROUGH_SYMLINKS,
        {b"directory to symlink", b"directory to symlink/z", b"target/z"},
    ),
    "symlinks to directories": (
        f"{THROUGH_SYMLINKS}; {NOT_MERGED}",
        {
            *(b"bin/another", b"bin/tool-1", b"usr/bin/another", b"usr/bin/tool-1"),
            *(b"lib", b"lib/libc.so", b"lib/libm.so"),
            *(b"usr/lib/libc.so", b"usr/lib/libm.so"),
            *(b"nothing", b"nothing/at", b"nothing/at/all"),
        },
    ),
    "names that begin at the root": (
        THROUGH_SYMLINKS,
        {b"link", b"link/through", b"etc/through"},
    ),
    "a renamed directory leaves nothing behind and brings no deletion along": (
        NOT_MERGED,
        {b"one file, renamed/a", b"full, renamed/d"},
    ),
}
_OPAQUE = b"user.overlay.opaque"  # the kernel hides the other mark only


@contextmanager
def overlay(folder: Path, lowers: Sequence[str]) -> Iterator[Path]:
    """Mount some directories of a folder over each other, the uppermost first."""
    (folder / "seen").mkdir()
    (folder / "lowest").mkdir()  # it takes two at least
    option = "ro,lowerdir=" + ":".join([*lowers, "lowest"])
    mount = ["mount", "-t", "overlay", "-o", option, "overlay", "seen"]
    subprocess.run(mount, cwd=folder, check=True)
    try:
        yield folder / "seen"
    finally:
        subprocess.run(["umount", folder / "seen"], check=True)


def overlaid(runner: JobRunner, image: Image, folder: Path) -> Listing:
    """List what an overlay shows of the published layers of an image."""
    snapshot = runner.repository.read()
    folder.mkdir()
    for number, path in enumerate(stacked_paths(snapshot, image)):
        assert not export_directory(snapshot, path, folder / str(number)).losses
    lowers = [str(number) for number in reversed(range(len(image.layers)))]
    with overlay(folder, lowers) as seen:
        listing = list_directory(seen)
    return {
        path: dataclasses.replace(
            entry, xattrs=tuple(x for x in entry.xattrs if x[0] != _OPAQUE)
        )
        for path, entry in listing.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_an_overlay_of_the_layers_is_what_umoci_unpacks(
    runner: JobRunner, tmp_path: Path, name: str
) -> None:
    require_program("umoci")
    image = build_image([tars.tar(*entries) for entries in CASES[name]])
    write_layout(tmp_path / "layout", "test", image)
    theirs = as_cvmfs_holds_it(
        umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    )
    runner.allow(formats="[podman]")
    runner.registry.hold_image("atlas/case", "v1", image)
    runner.publish("atlas/case:v1")
    ours = as_cvmfs_holds_it(overlaid(runner, image, tmp_path / "overlay"))
    stack = LayerStack(*CASES[name]).layers
    theirs, ours = as_stacked(theirs, stack), as_stacked(ours, stack)
    paths = theirs.keys() | ours.keys()
    different = {path for path in paths if theirs.get(path) != ours.get(path)}
    reason, expected = DIFFERENT.get(name, ("", set()))
    told = differences(theirs, ours, names=("umoci", "the overlay"))
    assert different == expected, (reason, told)
