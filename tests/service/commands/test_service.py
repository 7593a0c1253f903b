"""`up` and `serve`, as an operator starts them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import write_config
from tests.support.tools.programs import free_port


def test_up_with_a_wrong_configuration_says_all_that_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "listen: nowhere\n"
        "queue: {url: http://127.0.0.1/}\n"
        "sources: {hub: {kind: dockerhub}, lab: {kind: gitlab, secret: x}}\n"
        "repositories: {Bad_Name: {storage: ftp://x}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "webhook.cli", "up", "--config", config],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for key in ("listen", "queue.url", "sources.hub", "sources.lab", "repositories"):
        assert f"error: {config}: {key}" in done.stderr


@pytest.mark.parametrize(
    "verb",
    [("serve", "--listen"), ("worker", "--burst"), ("reconcile", "--once")],
    ids=lambda verb: verb[0],
)
def test_each_part_says_at_its_start_what_it_is(
    tmp_path: Path, redis_server: RedisServer, verb: tuple[str, ...]
) -> None:
    path = write_config(tmp_path, redis_server)
    if verb[0] == "serve":
        verb = (*verb, f"127.0.0.1:{free_port()}")
    with subprocess.Popen(
        [sys.executable, "-m", "webhook.cli", *verb, "--config", path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        line = process.stderr.readline()
        process.terminate()
    assert line.startswith("cvmfs-webhook ")
    assert f" {verb[0]}: configuration {path}; " in line
