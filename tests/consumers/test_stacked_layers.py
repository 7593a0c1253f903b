"""The kernel stacks exported layers to what umoci unpacks, and crun runs it.

That is what containerd's snapshotter and podman do with them. From the mount of the
real client: ``tests/compat/test_overlay.py``.
"""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import stacked_paths
from tests.support.images import tars
from tests.support.images.debian_images import debian_image
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.layer_trees import LayerStack, as_stacked, layer_of
from tests.support.images.oci import (
    Image,
    build_image,
    gzip_layer,
    read_layout,
    write_layout,
)
from tests.support.images.reported_images import REPORTED_IMAGES
from tests.support.images.tree_listing import Listing, differences, list_directory
from tests.support.tools.crun import run_with_crun
from tests.support.tools.overlayfs import (
    ROOT,
    USER,
    Overlay,
    mounted_overlay,
    require_overlay,
)
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import as_cvmfs_holds_it, umoci_unpack
from workers.exporting import export_directory
from workers.formats.paths import metadata_path
from workers.reference import Reference

MOUNTERS = [ROOT, USER]
# Where a user's overlay goes by other marks than root's, and where both do much.
_CASES = [
    *("hard links", "many layers", "types that change within one layer"),
    "a directory that is deleted and made again has nothing of the old one",
    "an opaque directory has its own new content whatever comes first",
    "an opaque directory over a lower symlink leaves what that leads to",
]


@pytest.fixture(scope="module", autouse=True)
def _overlays(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make devices and foreign owners")
    for mounter in MOUNTERS:
        require_overlay(mounter, tmp_path_factory.mktemp("probe"))


def export_layers(runner: JobRunner, image: Image, folder: Path) -> list[Path]:
    """Take layers out of the repository, each on its own; return where they are."""
    snapshot = runner.repository.read()
    folder.mkdir()
    places = []
    for number, path in enumerate(stacked_paths(snapshot, image)):
        place = folder / str(number)
        assert not export_directory(snapshot, path, place).losses
        places.append(place)
    return places


def merged(overlay: Overlay) -> Listing:
    """List an overlay without what makes directories opaque, which it may show."""
    return {
        path: dataclasses.replace(
            entry,
            xattrs=tuple(x for x in entry.xattrs if b".overlay." not in x[0]),
        )
        for path, entry in list_directory(overlay.outside).items()
    }


@pytest.mark.parametrize("name", _CASES)
def test_stacked_layers_are_what_umoci_unpacks(
    runner: JobRunner, tmp_path: Path, name: str
) -> None:
    entries = {**HARD_CASES, **REPORTED_IMAGES}[name]
    image = build_image([tars.tar(*layer) for layer in entries])
    write_layout(tmp_path / "layout", "test", image)
    theirs = umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    runner.registry.hold_image("atlas/case", "v1", image)
    runner.allow(formats="[podman]")
    runner.publish("atlas/case:v1")
    layers = export_layers(runner, image, tmp_path / "layers")
    stack = LayerStack(*entries).layers
    expected = as_stacked(as_cvmfs_holds_it(theirs), stack)
    for mounter in MOUNTERS:
        with mounted_overlay(
            mounter, layers, tmp_path / "merged", written=None
        ) as overlay:
            ours = as_stacked(as_cvmfs_holds_it(merged(overlay)), stack)
        assert differences(expected, ours, names=("umoci", mounter.name)) == []


# A real image.

_SAYS = (
    "import ssl, sys; print(sys.version_info[0], open('/etc/motd').read(), end='\\0')"
)
_CONFIG = {
    "config": {
        "Env": ["PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"],
        "Cmd": ["python3", "-c", _SAYS],
    }
}
_CHANGED = [
    "b'etc/issue/file': a file in before",
    "b'opt/first': a file in before",
    "b'opt/second': linked",
    "b'opt/third': a file in after",
    "b'usr/bin/dash': a file in before",
    "b'usr/bin/ping': mode",
    "b'var/mail': size",
    "b'var/mail': sha256",
]
_CHANGES = """
import os
with open("/var/mail", "a") as file:
    file.write(", and is changed")
os.remove("/usr/bin/dash")
os.remove("/etc/issue/file")
os.rename("/opt/first", "/opt/third")
os.chmod("/usr/bin/ping", 0o700)
print(open("/var/mail").read(), end="\\0")
"""


def on_top() -> bytes:
    """Return a layer that changes of Debian what a layer can change."""
    return tars.tar(
        tars.whiteout(b"etc/hostname"),
        tars.whiteout(b"usr/lib/os-release"),
        tars.whiteout(b"var/lib/apt"),
        tars.directory(b"usr/share/man", mode=0o750, mtime=1),
        tars.opaque(b"usr/share/man"),
        tars.file(b"usr/share/man/only", b"1", mtime=1),
        tars.whiteout(b"etc/cron.d"),
        tars.directory(b"etc/cron.d", mtime=1),  # nothing of the old one is in it
        tars.whiteout(b"etc/skel"),
        tars.symlink(b"etc/skel", b"../usr/share", mtime=1),  # over a directory
        tars.directory(b"bin", mtime=1),  # over a symlink
        tars.file(b"bin/only", b"1", mode=0o4755, uid=3, gid=4, mtime=1),
        tars.file(b"var/mail", b"was a directory", mtime=1),
        tars.directory(b"etc/issue", mtime=1),  # over a file
        tars.file(b"etc/issue/file", b"1", mode=0, mtime=1),
        tars.hard_link(b"usr/bin/perl-again", b"usr/bin/perl"),
        tars.file(b"opt/first", b"1", mode=0o2750, gid=7, mtime=1),
        tars.hard_link(b"opt/second", b"opt/first"),
        tars.fifo(b"run/fifo", mtime=1),
        tars.xattrs(
            {b"security.capability": bytes.fromhex("01000002002000" + 13 * "00")},
            tars.file(b"usr/bin/ping", b"1", mode=0o755, mtime=1),
        ),
        tars.xattrs({b"user.note": b"\0\xff"}, tars.file(b"opt/noted", mtime=1)),
    )


@dataclass(frozen=True, slots=True)
class Container:
    """What runs as a published image says."""

    runner: JobRunner
    name: str
    folder: Path

    def run(self, overlay: Overlay, *command: str) -> list[str]:
        """Run a command, or the image's own; return what it wrote, cut at each NUL."""
        snapshot = self.runner.repository.read()
        reference = Reference.parse(self.runner.reference(self.name))
        dirent = snapshot.lookup(metadata_path(reference) + b"/config.json")
        assert dirent is not None
        settings = json.loads(snapshot.read(dirent))["config"]
        return run_with_crun(
            overlay.inside,
            command or settings["Cmd"],
            dict(pair.split("=", 1) for pair in settings["Env"]),
            self.folder,
            enter=overlay.enter,
            is_readonly=False,
        )


def test_a_stacked_debian_is_what_umoci_unpacks_runs_and_can_be_written_over(
    runner: JobRunner, tmp_path: Path
) -> None:
    require_program("crun")
    layers = [*read_layout(debian_image()).layers, gzip_layer(on_top())]
    image = build_image(layers, config=_CONFIG)
    write_layout(tmp_path / "layout", "test", image)
    theirs = umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    assert len(theirs) > 10_000
    runner.registry.hold_image("atlas/debian", "v1", image)
    runner.allow(formats="[podman]")
    runner.publish("atlas/debian:v1")
    places = export_layers(runner, image, tmp_path / "layers")
    top = [layer_of(on_top())]
    container = Container(runner, "atlas/debian:v1", tmp_path / "crun")
    for mounter in MOUNTERS:
        with mounted_overlay(
            mounter, places, tmp_path / "merged", written=None
        ) as overlay:
            before = merged(overlay)
            said = container.run(overlay)
        found = differences(
            as_stacked(as_cvmfs_holds_it(theirs), top),
            as_stacked(as_cvmfs_holds_it(before), top),
            names=("umoci", mounter.name),
        )
        assert found == []
        assert before[b"opt/second"].linked == b"opt/first"
        assert said == ["3 changed by a later layer\n"]
        written = tmp_path / mounter.name
        with mounted_overlay(
            mounter, places, tmp_path / "merged", written=written
        ) as overlay:
            said = container.run(overlay, "python3", "-c", _CHANGES)
            after = merged(overlay)
        assert said == ["was a directory, and is changed"]
        found = differences(before, after, names=("before", "after"), ignore=["mtime"])
        assert [line.partition(" is ")[0] for line in found] == _CHANGED
