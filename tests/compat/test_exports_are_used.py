"""What is exported is taken by those for whom it is made."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import Layer
from tests.support.images.runnable_image import TELL, runnable_layer
from tests.support.images.tree_listing import list_directory
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.crun import run_with_crun
from tests.support.tools.programs import require_program
from tests.support.tools.skopeo import skopeo_copy
from webhook.cli import main

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="running containers needs root"
)
NAME = "atlas/runs:v1"


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with open_job_runner(redis_server, folder) as opened:
        layers: list[bytes | Layer] = [
            runnable_layer(),
            tars.tar(tars.file(b"second", b"2", uid=7)),
        ]
        opened.registry.push_image("atlas/runs", "v1", layers)
        opened.publish(NAME)
        yield opened


def export(runner: JobRunner, kind: str, to: Path | str) -> Result:
    words = ["repository", "export", FQRN, runner.reference(NAME), "--format", kind]
    result = CliRunner().invoke(
        main, [*words, "--to", str(to), "--config", str(runner.config)]
    )
    assert result.exit_code == 0, result.output
    return result


def test_an_oci_layout_goes_through_a_registry_and_runs(
    runner: JobRunner, tmp_path: Path
) -> None:
    for program in ("skopeo", "umoci", "crun"):
        require_program(program)
    export(runner, "oci", tmp_path / "oci")
    with distribution_registry(tmp_path / "registry") as registry:
        there = f"docker://{registry}/again/runs:v1"
        skopeo_copy(f"oci:{tmp_path}/oci:v1", there)
        skopeo_copy(there, f"oci:{tmp_path}/back:v1")
    subprocess.run(
        [
            require_program("umoci"),
            "unpack",
            "--image",
            f"{tmp_path}/back:v1",
            tmp_path / "b",
        ],
        check=True,
        capture_output=True,
    )
    root = tmp_path / "b" / "rootfs"
    assert (root / "second").stat().st_uid == 7
    said = run_with_crun(root, [TELL, "a"], {"GREETING": "hello"}, tmp_path / "crun")
    assert said == ["/", "hello", "a"]


def test_a_squashfs_is_mounted_by_the_kernel_and_runs(
    runner: JobRunner, tmp_path: Path
) -> None:
    require_program("mksquashfs")
    export(runner, "sqfs", tmp_path / "image.sqfs")
    root = tmp_path / "mounted"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "squashfs", "-o", "loop,ro", tmp_path / "image.sqfs", root],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"this kernel mounts no squashfs: {mounted.stderr.strip()}")
    try:
        assert (root / "second").stat().st_uid == 7
        said = run_with_crun(
            root, [TELL, "a"], {"GREETING": "hello"}, tmp_path / "crun"
        )
    finally:
        subprocess.run(["umount", root], check=True)
    assert said == ["/", "hello", "a"]


def test_a_tar_goes_to_standard_output(runner: JobRunner, tmp_path: Path) -> None:
    result = export(runner, "tar", "-")
    subprocess.run(
        ["tar", "--extract", "--directory", tmp_path, "second"],
        input=result.stdout_bytes,
        check=True,
    )
    assert (tmp_path / "second").read_bytes() == b"2"


def test_the_real_shrinkwrap_copies_what_the_specification_says(
    runner: JobRunner, tmp_path: Path
) -> None:
    program = require_program("cvmfs_shrinkwrap")
    export(runner, "shrinkwrap", tmp_path / "spec")
    config = tmp_path / "client.conf"
    for name in ("cache", "out"):
        (tmp_path / name).mkdir()
    folder = runner.config.parent
    config.write_text(
        f"""\
CVMFS_SERVER_URL={(folder / "cvmfs").as_uri()}
CVMFS_HTTP_PROXY=DIRECT
CVMFS_PUBLIC_KEY={folder}/keys/{FQRN}.pub
CVMFS_CACHE_DIR={tmp_path}/cache
CVMFS_MOUNT_DIR=/cvmfs
"""
    )
    done = subprocess.run(
        [
            *(program, "-r", FQRN, "-f", config, "-t", tmp_path / "spec"),
            *("-x", tmp_path / "out", "-j", "2"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    link = tmp_path / "out" / FQRN / runner.reference(NAME)
    copied = list_directory(Path(os.path.realpath(link)))
    export(runner, "dir", tmp_path / "dir")
    expected = list_directory(tmp_path / "dir")
    assert {path: entry.sha256 for path, entry in expected.items()} == {
        path: entry.sha256
        for path, entry in copied.items()
        if path.rpartition(b"/")[2] != b".cvmfscatalog"
    }
    said = tmp_path / "out" / FQRN / ".metadata" / runner.reference(NAME)
    assert (said / "manifest.json").is_file()
