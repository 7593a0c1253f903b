"""One name for all CPU types, followed by the real client."""

import os
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import build_image, tar_of
from tests.support.repositories.folder_over_http import serve_folder
from tests.support.tools.cvmfs_client import mounted, swissknife_check
from tests.support.tools.programs import require_program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

# What ``uname -m`` says, and what images for it are called.
MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


def test_a_client_is_led_to_the_platform_of_its_machine(tmp_path: Path) -> None:
    for program in ("cvmfs2", "cvmfs_swissknife"):
        require_program(program)
    platforms = list(MACHINES.values())
    with (
        RedisServer(tmp_path / "redis") as server,
        open_job_runner(server, tmp_path) as runner,
    ):
        runner.allow(platforms=f"[{', '.join(reversed(platforms))}]")
        images = [
            build_image([tar_of({"cpu": platform.encode()})], platform=platform)
            for platform in platforms
        ]
        runner.registry.push_index("atlas/analysis", "v1", images)
        runner.publish("atlas/analysis:v1")
        storage = runner.services.config.repositories[FQRN].storage
        folder = Path(storage.removeprefix("file://"))
        name = runner.reference("atlas/analysis:v1")
    key = tmp_path / "keys" / f"{FQRN}.pub"
    with (
        serve_folder(folder) as url,
        mounted(tmp_path / "client", FQRN, url, key) as mountpoint,
    ):
        wanted = MACHINES.get(os.uname().machine, platforms[-1])
        assert (mountpoint / name / "cpu").read_text() == wanted
        for machine, platform in MACHINES.items():
            direct = mountpoint / ".multiarch" / machine / name / "cpu"
            assert direct.read_text() == platform
        said = swissknife_check(tmp_path / "check", FQRN, url, key)
        assert "no problems found" in said
