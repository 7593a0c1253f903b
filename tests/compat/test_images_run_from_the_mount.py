"""An image runs straight from the mount of the real client."""

import os
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import runnable_image
from tests.support.repositories.folder_over_http import serve_folder
from tests.support.tools.cvmfs_client import mounted
from tests.support.tools.programs import require_program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def test_an_image_runs_from_the_mount_as_its_config_says_and_through_its_scripts(
    tmp_path: Path,
) -> None:
    for program in ("cvmfs2", "crun"):
        require_program(program)
    with (
        RedisServer(tmp_path / "redis") as server,
        open_job_runner(server, tmp_path) as runner,
    ):
        runnable_image.publish(runner)
        storage = runner.services.config.repositories[FQRN].storage
        name = runner.reference(runnable_image.NAME)
    key = tmp_path / "keys" / f"{FQRN}.pub"
    with (
        serve_folder(Path(storage.removeprefix("file://"))) as url,
        mounted(tmp_path / "client", FQRN, url, key) as mountpoint,
    ):
        runnable_image.run_in_every_way(mountpoint / name, tmp_path / "container")
