"""Published layers under the kernel's overlayfs, from the mount of the real client."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import Layer, digest_of, gzip_layer
from tests.support.repositories.folder_over_http import serve_folder
from tests.support.tools.cvmfs_client import mounted
from workers.formats.paths import layer_path

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
    reason="mounting needs root and /dev/fuse",
)

BASE = gzip_layer(
    tars.tar(
        tars.directory(b"opaque"),
        tars.file(b"opaque/lower", b"lower"),
        tars.directory(b"merged"),
        tars.file(b"merged/lower", b"lower"),
        tars.file(b"merged/both", b"lower"),
        tars.file(b"gone", b"gone"),
        tars.directory(b"folder"),
        tars.file(b"folder/gone", b"gone"),
    )
)
TOP = gzip_layer(
    tars.tar(
        tars.directory(b"opaque"),
        tars.opaque(b"opaque"),
        tars.file(b"opaque/upper", b"upper"),
        tars.file(b"merged/both", b"upper"),
        tars.file(b"merged/upper", b"upper"),
        tars.whiteout(b"gone"),
        tars.whiteout(b"folder"),
    )
)
MERGED = {
    "merged": "",
    "merged/both": "upper",
    "merged/lower": "lower",
    "merged/upper": "upper",
    "opaque": "",
    "opaque/upper": "upper",
}
# Prints what there is, one a line: path, a tab, and what is in it if it is a file.
_LIST = r"""
cd "$1"
find . -mindepth 1 | sort | while read -r path; do
  printf '%s\t' "${path#./}"
  if [ -f "$path" ]; then cat "$path"; fi
  echo
done
"""


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    with open_job_runner(redis_server, tmp_path) as opened:
        opened.registry.push_image("atlas/image", "v1", [BASE, TOP])
        opened.publish("atlas/image:v1")
        yield opened


@pytest.fixture
def mountpoint(runner: JobRunner, tmp_path: Path) -> Iterator[Path]:
    assert runner.revision
    public_key = tmp_path / "keys" / f"{FQRN}.pub"
    with (
        serve_folder(tmp_path) as url,
        mounted(tmp_path / "client", FQRN, f"{url}/cvmfs", public_key) as mountpoint,
    ):
        yield mountpoint


def layerfs(mountpoint: Path, layer: Layer) -> Path:
    path = layer_path(digest_of(layer.blob)).decode()
    return mountpoint / path[1:] / "layerfs"


def overlay(mountpoint: Path, foreign: Path | None, options: str = "") -> str:
    """Return the option that stacks the layers, upon a directory of another kind."""
    lowers = [layerfs(mountpoint, TOP), layerfs(mountpoint, BASE)]
    if foreign is not None:
        foreign.mkdir()
        lowers.append(foreign)
    return f"ro{options},lowerdir=" + ":".join(map(str, lowers))


def listed(
    option: str, folder: Path, *, namespace: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """Mount, list, and let the namespace end with the mount."""
    folder.mkdir()
    script = f'mount -t overlay overlay -o "$2" "$1"\n{_LIST}'
    return subprocess.run(
        [*namespace, "sh", "-ec", script, "sh", str(folder), option],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def contents(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t") for line in done.stdout.splitlines())


AS_ROOT = ("unshare", "--mount", "--propagation", "private")
AS_USER = ("unshare", "--user", "--map-root-user", "--mount")


def test_root_sees_deletions_and_opaque_directories(
    mountpoint: Path, tmp_path: Path
) -> None:
    option = overlay(mountpoint, tmp_path / "foreign")
    assert contents(listed(option, tmp_path / "seen", namespace=AS_ROOT)) == MERGED


def test_a_user_sees_them_too_in_a_namespace_of_his_own(
    mountpoint: Path, tmp_path: Path
) -> None:
    option = overlay(mountpoint, tmp_path / "foreign", ",userxattr")
    done = listed(option, tmp_path / "seen", namespace=AS_USER)
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"no overlay in a user namespace here: {done.stderr.strip()}")
    assert contents(done) == MERGED


def test_layers_can_be_written_over(mountpoint: Path, tmp_path: Path) -> None:
    for name in ("upper", "work", "seen"):
        (tmp_path / name).mkdir()
    lowers = f"{layerfs(mountpoint, TOP)}:{layerfs(mountpoint, BASE)}"
    option = f"lowerdir={lowers},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = (
        'mount -t overlay overlay -o "$2" "$1"; cd "$1"; test ! -e gone;'
        " echo more >> merged/lower; rm merged/both; cat merged/lower; ls merged"
    )
    done = subprocess.run(
        [*AS_ROOT, "sh", "-ec", script, "sh", str(tmp_path / "seen"), option],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "lowermore\nlower\nupper\n"


def test_layers_alone_cannot_be_looked_into(mountpoint: Path, tmp_path: Path) -> None:
    # The client says that names have no length, and overlayfs takes the longest of its
    # layers': the README says to add a directory. If this fails, it need not any more.
    option = overlay(mountpoint, None)
    done = listed(option, tmp_path / "seen", namespace=AS_ROOT)
    assert "File name too long" in done.stderr, (done.stdout, done.stderr)
