"""A disk on which everything lies and that is full, and the way out of it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.harness.service import ServiceProcess
from tests.support.images.oci import tar_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.tools.mounting import may_mount, mount
from tests.support.tools.waiting import wait_until
from webhook.machine.first_start import FQRN

pytestmark = pytest.mark.skipif(not may_mount(), reason="mounting needs root")

LATER = 4


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount(place, "size=40m", "-t", "tmpfs", "tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> None:
    """Write until not a byte more can be written."""
    with place.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def warnings(service: ServiceProcess) -> str:
    ready = requests.get(f"{service.url}/readyz", timeout=10).json()
    return "\n".join(ready["warnings"])


def test_work_waits_says_so_and_goes_on_and_gc_is_the_way_out(disk: Path) -> None:
    with (
        FakeRegistry() as registry,
        ServiceProcess(disk, registry=registry.host) as service,
    ):
        registry.push_image("good/image", "1", [tar_of({"a": b"a"})])
        registry.push_image("good/image", "2", [tar_of({"b": b"b"})])
        service.allow(f"{registry.host}/**")
        first, second = (f"{registry.host}/good/image:{tag}" for tag in "12")
        service.run("publish", first)
        service.wait_until(first, "live")
        reserve = service.storage / "data/txn/reserve"
        wait_until(reserve.exists, "there is a reserve")

        # Nearly full: what is accepted waits.
        status = os.statvfs(disk)
        much = status.f_bavail * status.f_frsize - (1 << 20)
        (disk / "much").write_bytes(bytes(much))
        wait_until(lambda: "nearly full" in warnings(service), "it is told of")
        service.run("publish", second)
        waiting = service.image(second)
        assert service.image(second) == waiting
        (disk / "much").unlink()
        service.wait_until(second, "live")
        wait_until(lambda: "nearly full" not in warnings(service), "all is well")

        # Full to the last byte: the queue server ends with its next write.
        service.run("remove", first)
        fill(disk / "junk")
        wait_until(
            lambda: service.run_raw("publish", second).returncode == LATER,
            "nothing more can be accepted",
        )
        said: list[str] = []

        def is_told() -> bool:
            said.append(service.run_raw("status").stderr)
            return "disk full" in said[-1]

        wait_until(is_told, "the command says why")
        assert len(said[-1].splitlines()) == 1
        collected = service.run_raw(
            *("repository", "gc", FQRN, "--prune", "--restorable-for", "0s"),
            *("--keep-for", "0s", "--grace", "0s"),
        )
        assert collected.returncode == 0, collected.stderr
        assert "no problems" in service.run("repository", "check", FQRN)
        (disk / "junk").unlink()
        wait_until(
            lambda: service.run_raw("status").returncode == 0, "it goes on by itself"
        )
        service.wait_until(second, "live")
