"""A tag is moved back, removed, and deleted in its registry; with real parts only."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.harness.service import ServiceProcess
from tests.support.images.oci import Image, build_image, tar_of, write_layout
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.programs import free_port
from tests.support.tools.skopeo import skopeo_copy
from webhook.machine.first_start import FQRN


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


def push(service: ServiceProcess, folder: Path, reference: str, text: bytes) -> Image:
    image = build_image([tar_of({"motd": text})])
    write_layout(folder / text.decode(), "v1", image)
    skopeo_copy(f"oci:{folder}/{text.decode()}:v1", f"docker://{reference}")
    service.wait_until(reference, "live", "failed", digest=image.digest)
    return image


def shown(service: ServiceProcess, reference: str) -> str:
    return service.run("repository", "cat", FQRN, f"/{reference}/motd")


def test_a_tag_goes_back_and_is_removed_and_comes_back(
    site: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    service, registry = site
    service.allow(f"{registry}/**")
    reference = f"{registry}/atlas/analysis:v1"
    first = push(service, tmp_path, reference, b"first")
    push(service, tmp_path, reference, b"second")
    assert shown(service, reference) == "second"

    service.run("restore", reference, "--previous", "--wait")
    assert shown(service, reference) == "first"

    service.run("remove", reference, "--wait")
    assert json.loads(service.run("status", reference, "--json"))["state"] == "removed"

    service.run("restore", reference, first.digest[:19], "--wait")
    assert shown(service, reference) == "first"
    pruned = json.loads(service.run("repository", "prune", FQRN, "--json"))
    assert (pruned["unused"], pruned["forgotten"]) == ([], [])
    assert "no problems" in service.run("repository", "check", FQRN)


def test_what_is_deleted_in_its_registry_goes_after_its_grace_time(
    site: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    service, registry = site
    service.write_policy(f'rules: [{{allow: "{registry}/**", keep: {{grace: 1s}}}}]')
    reference = f"{registry}/atlas/analysis:v1"
    image = push(service, tmp_path, reference, b"first")

    # Distribution deletes by digest, and takes the tags away that have it.
    path = f"/v2/atlas/analysis/manifests/{image.digest}"
    assert requests.delete(f"http://{registry}{path}", timeout=10).status_code == 202

    gone = service.wait_until(reference, "removed")
    assert gone["live_digest"] is None
    pruned = json.loads(
        service.run("repository", "prune", FQRN, "--grace", "0s", "--json")
    )
    assert len(pruned["unused"]) == 2
    assert "no problems" in service.run("repository", "check", FQRN)


def test_what_a_registry_never_told_of_is_found_by_asking(tmp_path: Path) -> None:
    image = build_image([tar_of({"motd": b"first"})])
    write_layout(tmp_path / "image", "v1", image)
    with distribution_registry(tmp_path / "registry") as host:
        reference = f"{host}/atlas/analysis:v1"
        skopeo_copy(f"oci:{tmp_path}/image:v1", f"docker://{reference}")
        with ServiceProcess(tmp_path / "service", registry=host) as service:
            rule = f'allow: "{host}/**", watch: {{every: 1m, existing: all}}'
            service.write_policy(f"rules: [{{{rule}}}]")
            found = service.wait_until(reference, "live")
            assert found["live_digest"] == image.digest
            status = json.loads(service.run("status", reference, "--json"))
            assert status["last_run"]["source"] == "reconcile"
            assert "1 tags" in service.run("reconcile", "--once")
