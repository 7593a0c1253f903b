"""The main job, with real parts only: registry, notification, queue, worker, CVMFS."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.harness.service import TOKEN, ServiceProcess
from tests.support.images.debian_images import debian_image
from tests.support.images.tree_listing import differences, list_directory
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.programs import free_port
from tests.support.tools.skopeo import skopeo_copy
from tests.support.tools.umoci import umoci_unpack, without_our_additions
from webhook.machine.first_start import FQRN

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="owners and devices need root"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[ServiceProcess, str]]:
    """The service, and a registry that notifies it."""
    port = free_port()
    registry = f"127.0.0.1:{port}"
    service = ServiceProcess(tmp_path / "service", registry=registry)
    with (
        service,
        distribution_registry(
            tmp_path / "registry", endpoints=[service.endpoint], port=port
        ),
    ):
        yield service, registry


@needs_root
def test_a_pushed_debian_image_is_published_as_umoci_unpacks_it(
    site: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    service, registry = site
    layout = debian_image()
    service.allow(f"{registry}/atlas/*")
    reference = f"{registry}/atlas/debian:12"

    skopeo_copy(f"oci:{layout}:latest", f"docker://{reference}")

    image = service.wait_until(reference, "live", "failed", "refused")
    assert image["state"] == "live", image
    assert image["path"] == f"/cvmfs/{FQRN}/{reference}"
    service.run("repository", "export", FQRN, reference, "--to", tmp_path / "out")
    expected = umoci_unpack(layout, "latest", tmp_path / "umoci")
    actual = without_our_additions(list_directory(tmp_path / "out"), expected)
    assert differences(expected, actual) == []
    assert "no problems" in service.run("repository", "check", FQRN)


def test_an_image_whose_worker_is_killed_halfway_goes_live_by_itself(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    service.allow(f"{registry}/**")
    reference = f"{registry}/atlas/killed:1"
    skopeo_copy(f"oci:{debian_image()}:latest", f"docker://{reference}")
    service.wait_until(reference, "converting")

    for process in service.processes("worker"):
        os.kill(process, signal.SIGKILL)

    image = service.wait_until(reference, "live", "failed")
    assert image["state"] == "live", image
    assert "no problems" in service.run("repository", "check", FQRN)


def test_an_image_goes_live_though_the_queue_server_is_killed_meanwhile(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    service.allow(f"{registry}/**")
    reference = f"{registry}/atlas/debian:queue"
    skopeo_copy(f"oci:{debian_image()}:latest", f"docker://{reference}")
    service.wait_until(reference, "converting")

    service.kill_queue_server()

    image = service.wait_until(reference, "live", "failed")
    assert image["state"] == "live", image


def test_what_was_accepted_before_everything_died_is_published_after_a_new_start(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    service.allow(f"{registry}/**")
    reference = f"{registry}/atlas/debian:restart"
    skopeo_copy(f"oci:{debian_image()}:latest", f"docker://{reference}")
    service.wait_until(reference, "resolving", "fetching", "converting")

    service.kill()
    service.start()

    image = service.wait_until(reference, "live", "failed")
    assert image["state"] == "live", image


def test_a_push_that_the_policy_does_not_know_is_refused_and_shown_so(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    service.allow(f"{registry}/atlas/*")
    reference = f"{registry}/unknown/debian:12"

    skopeo_copy(f"oci:{debian_image()}:latest", f"docker://{reference}")

    image = service.wait_until(reference, "refused")
    assert "no rule" in str(image["reason"])
    assert service.run_raw("publish", reference).returncode == 3


def test_a_second_tag_of_a_published_image_is_live_without_a_download(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    service.allow(f"{registry}/**")
    for tag in ("1", "2"):
        reference = f"{registry}/atlas/debian:{tag}"
        skopeo_copy(f"oci:{debian_image()}:latest", f"docker://{reference}")
        image = service.wait_until(reference, "live", "failed")
    run = image["last_run"]
    assert isinstance(run, dict)
    assert "converting" not in run["seconds_by_stage"]


def test_publish_by_hand_waits_and_prints_the_path(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    reference = f"{registry}/atlas/debian:hand"
    skopeo_copy(f"oci:{debian_image()}:latest", f"docker://{reference}")
    service.wait_until(reference, "refused")
    service.allow(f"{registry}/**")

    printed = service.run("publish", "--wait", reference)

    assert printed.splitlines()[-1] == f"/cvmfs/{FQRN}/{reference}"
    shown = json.loads(service.run("status", "--json", reference))
    assert shown["state"] == "live"
    again = service.run("publish", "--wait", reference)
    assert again.splitlines()[-1] == f"/cvmfs/{FQRN}/{reference}"


def test_a_stranger_can_read_the_image_but_not_steer(
    site: tuple[ServiceProcess, str],
) -> None:
    service, registry = site
    body = {"reference": f"{registry}/a/b:c"}
    post = f"{service.url}/api/v1/images"
    assert requests.post(post, json=body, timeout=10).status_code in (401, 403)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.post(post, json=body, headers=bearer, timeout=10)
    assert answer.status_code != 401
    assert requests.get(f"{service.url}/", timeout=10).ok
