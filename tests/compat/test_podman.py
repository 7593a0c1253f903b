"""Podman runs published images from the mount of the real client."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import gzip_layer
from tests.support.repositories.folder_over_http import serve_folder
from tests.support.tools.cvmfs_client import mounted
from tests.support.tools.podman import (
    ORDINARY_USER,
    Podman,
    programs_layer,
    require_podman,
    require_rootless_podman,
)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
    reason="mounting needs root and /dev/fuse",
)


@pytest.mark.parametrize(
    ("require", "user", "owner"),
    [
        (require_podman, 0, "7 8"),
        (require_rootless_podman, ORDINARY_USER, "65534 65534"),
    ],
    ids=["root", "an ordinary user"],
)
def test_a_container_runs_from_the_mount(
    tmp_path: Path, require: Callable[[Path], None], user: int, owner: str
) -> None:
    require(tmp_path / "probe")
    base = programs_layer(
        tars.file(b"data/gone", b"gone"),
        tars.file(b"data/changed", b"lower\n"),
        tars.file(b"data/setuid", b"", mode=0o4755, uid=7, gid=8),
    )
    top = gzip_layer(
        tars.tar(tars.whiteout(b"data/gone"), tars.file(b"data/changed", b"upper\n"))
    )
    (tmp_path / "redis").mkdir()
    with (
        RedisServer(tmp_path / "redis") as server,
        open_job_runner(server, tmp_path) as runner,
    ):
        runner.allow(formats="[podman]")
        runner.registry.push_image("atlas/analysis", "v1", [base, top])
        runner.publish("atlas/analysis:v1")
        image = runner.reference("atlas/analysis:v1")
    public_key = tmp_path / "keys" / f"{FQRN}.pub"
    with (
        serve_folder(tmp_path) as url,
        mounted(tmp_path / "client", FQRN, f"{url}/cvmfs", public_key) as mountpoint,
    ):
        podman = Podman(tmp_path / "podman", mountpoint / "podmanStore", user)
        assert image in podman.names()
        script = "cat changed; stat -c '%a %u %g' setuid; ls gone || echo none"
        said = podman.run("--workdir=/data", image, "/bin/sh", "-c", script)
    assert said == f"upper\n4755 {owner}\nnone\n"
