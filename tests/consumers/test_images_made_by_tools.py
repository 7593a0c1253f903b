"""What buildah and umoci make of a directory is published as umoci unpacks it.

By hand one makes the layers that one thinks of; the tools make theirs.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import read_layout
from tests.support.images.tree_listing import differences
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import umoci_unpack, without_our_additions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the tools run as root here")

_CONTAINERFILE = """\
FROM scratch
COPY context /
ENV GREETING="it's"
VOLUME /data
WORKDIR /work/deep
COPY --chown=3:4 --chmod=4751 context/data/file /data/second
COPY context/data /data/again
CMD ["/data/second", "two words"]
"""
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def context(folder: Path) -> Path:
    """Make a directory with much of what a file system can hold."""
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "file").write_bytes(b"hello")
    (data / "linked").hardlink_to(data / "file")
    (data / "link").symlink_to("file")
    (data / "dangling").symlink_to("/no/where")
    (data / "ünï 😀").write_bytes(b"")
    (data / "secret").write_bytes(b"1")
    (data / "secret").chmod(0)
    (data / "setuid").write_bytes(b"1")
    os.chown(data / "setuid", 5, 6)
    (data / "setuid").chmod(0o6755)
    (folder / "shared").mkdir(mode=0o777)
    (folder / "shared").chmod(0o1777)
    (folder / "readonly").mkdir()
    (folder / "readonly" / "file").write_bytes(b"1")
    (folder / "readonly").chmod(0o555)
    return folder


def by_buildah(folder: Path) -> Path:
    context(folder / "context")
    (folder / "Containerfile").write_text(_CONTAINERFILE)
    layout = folder / "layout"
    places = ["--root", f"{folder}/root", "--runroot", f"{folder}/run"]
    buildah = [require_program("buildah"), *places, "--storage-driver", "vfs"]
    for arguments in (
        ["build", "--isolation", "chroot", "--layers", "-t", "made:1", "."],
        ["push", "made:1", f"oci:{layout}:test"],
    ):
        subprocess.run(
            [*buildah, *arguments], cwd=folder, check=True, capture_output=True
        )
    return layout


def by_umoci(folder: Path) -> Path:
    """Unpack, change and repack, twice: so there are deletions and changes of type."""
    layout, bundle = folder / "layout", folder / "bundle"
    image = ["--image", f"{layout}:test"]
    umoci = require_program("umoci")
    subprocess.run([umoci, "init", "--layout", layout], check=True)
    subprocess.run([umoci, "new", *image], check=True)
    for change in (_first_layer, _second_layer):
        subprocess.run([umoci, "unpack", *image, bundle], check=True)
        change(bundle / "rootfs")
        subprocess.run(
            [umoci, "repack", "--refresh-bundle", *image, bundle], check=True
        )
        subprocess.run(["rm", "-rf", bundle], check=True)
    return layout


def _first_layer(root: Path) -> None:
    context(root / "made")
    device = os.makedev(1, 3)
    os.mknod(root / "made" / "null", 0o020666, device)
    os.mkfifo(root / "made" / "fifo")
    (root / "made" / "ping").write_bytes(b"1")
    os.setxattr(root / "made" / "ping", "security.capability", _CAPABILITY)
    os.setxattr(root / "made" / "ping", "user.note", b"\0\xff")


def _second_layer(root: Path) -> None:
    made = root / "made"
    (made / "data" / "link").unlink()
    (made / "data" / "link").mkdir()
    (made / "data" / "link" / "new").write_bytes(b"2")
    subprocess.run(["rm", "-rf", made / "readonly"], check=True)
    (made / "readonly").symlink_to("data")
    (made / "data" / "secret").unlink()
    (made / "data" / "file").write_bytes(b"changed")


@pytest.mark.parametrize("make", [by_buildah, by_umoci])
def test_what_a_tool_makes_is_published_as_umoci_unpacks_it(
    runner: JobRunner, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    layout = make(folder)
    theirs = umoci_unpack(layout, "test", tmp_path / "bundle")
    assert len(theirs) > 10
    image = read_layout(layout)
    runner.registry.hold_image("atlas/made", "v1", image)
    runner.publish("atlas/made:v1")
    ours = without_our_additions(runner.listing(image.config_digest), theirs)
    # No layer names the root, and umoci gives it the time of unpacking.
    root = theirs.pop(b"").mode, ours.pop(b"").mode
    assert root[0] == root[1]
    assert differences(theirs, ours, names=("umoci", "ours")) == []
