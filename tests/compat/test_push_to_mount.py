"""What the service published, seen through the real client."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.service import ServiceProcess
from tests.support.images.debian_images import debian_image
from tests.support.images.oci import build_image, tar_of, write_layout
from tests.support.images.tree_listing import differences, list_directory
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.cvmfs_client import mounted, refresh, swissknife_check
from tests.support.tools.programs import free_port, require_program
from tests.support.tools.skopeo import skopeo_copy
from tests.support.tools.umoci import umoci_unpack, without_our_additions
from webhook.machine.first_start import FQRN

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[ServiceProcess, str]]:
    for program in ("cvmfs2", "cvmfs_talk", "cvmfs_swissknife"):
        require_program(program)
    port = free_port()
    registry = f"127.0.0.1:{port}"
    service = ServiceProcess(tmp_path / "service", registry=registry)
    endpoints = [service.endpoint]
    with (
        service,
        distribution_registry(tmp_path / "registry", endpoints=endpoints, port=port),
    ):
        service.allow(f"{registry}/**")
        yield service, registry


def test_a_mounted_client_sees_the_image_as_umoci_unpacks_it_and_runs_it(
    site: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    service, registry = site
    reference = f"{registry}/atlas/debian:12"
    layout = debian_image()
    skopeo_copy(f"oci:{layout}:latest", f"docker://{reference}")
    image = service.wait_until(reference, "live", "failed")
    assert image["state"] == "live", image
    expected = umoci_unpack(layout, "latest", tmp_path / "umoci")

    url = f"{service.url}/cvmfs/@fqrn@"
    with mounted(tmp_path / "client", FQRN, url, service.key) as mountpoint:
        link = mountpoint / reference
        actual = list_directory(Path(os.path.realpath(link)))
        assert differences(expected, without_our_additions(actual, expected)) == []
        script = "/.singularity.d/actions/run"
        ran = subprocess.run(
            ["chroot", str(link), script, "python3", "-c", "print(6 * 7)"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert ran.stdout == "42\n"
    said = swissknife_check(
        tmp_path / "check", FQRN, f"{service.url}/cvmfs/{FQRN}", service.key
    )
    assert "no problems found" in said


def test_a_mounted_client_follows_a_tag_that_moves(
    site: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    service, registry = site
    reference = f"{registry}/atlas/moving:latest"
    for text in (b"first", b"second"):
        image = build_image([tar_of({"version": text, "same": b"for both"})])
        write_layout(tmp_path / text.decode(), "latest", image)

    skopeo_copy(f"oci:{tmp_path}/first:latest", f"docker://{reference}")
    service.wait_until(reference, "live")
    url = f"{service.url}/cvmfs/@fqrn@"
    client = tmp_path / "client"
    with mounted(client, FQRN, url, service.key) as mountpoint:
        version = mountpoint / reference / "version"
        assert version.read_bytes() == b"first"
        before = service.image(reference)
        assert before is not None
        skopeo_copy(f"oci:{tmp_path}/second:latest", f"docker://{reference}")
        after = service.wait_until_revision_above(reference, before["revision"])
        assert after["state"] == "live"
        assert version.read_bytes() == b"first"
        refresh(client, FQRN)
        assert version.read_bytes() == b"second"
        assert (mountpoint / reference / "same").read_bytes() == b"for both"
