"""Everybody is told of a disk on which work waits, and probes are not turned red."""

import dataclasses
from pathlib import Path

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import OPERATOR, TOKEN
from webhook.app import create_app
from workers.care.disk_watch import DiskWatch
from workers.config import Config, OperatorConfig, RepositoryConfig, Secret
from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.policy import PolicyFile
from workers.wiring import Front

FQRN = "unpacked.example.org"


def test_a_disk_below_its_floor_is_told_of_everywhere(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: [{allow: registry.example.org/**}]\n")
    (tmp_path / "cvmfs").mkdir()
    enough = Config(
        state=tmp_path / "absent",
        operator=OperatorConfig((Secret(TOKEN),)),
        repositories={FQRN: RepositoryConfig(FQRN, (tmp_path / "cvmfs").as_uri())},
        policy=policy,
        disk_floor=0,
    )
    connection = redis_server.client()
    connection.flushall()
    front = Front(connection, Ledger(connection), JobQueue(connection))

    def told(config: Config) -> tuple[bool, list[str], str]:
        watch = DiskWatch(config)
        watch.look()
        app = create_app(config, front, PolicyFile(policy), disks=watch)
        client = app.test_client()
        ready = client.get("/readyz")
        metrics = client.get("/metrics", headers=OPERATOR).text
        line = next(
            line
            for line in metrics.splitlines()
            if line.startswith("cvmfs_webhook_disks_below_floor ")
        )
        assert f'cvmfs_webhook_repository_free_bytes{{repository="{FQRN}"}}' in metrics
        page = client.get("/").text
        warnings = [
            line for line in ready.get_json()["warnings"] if "nearly full" in line
        ]
        return "nearly full" in page, warnings, line.split()[-1]

    assert told(enough) == (False, [], "0.0")
    is_on_page, (warning,), count = told(
        dataclasses.replace(enough, disk_floor=1 << 62)
    )
    assert is_on_page
    assert count == "1.0"
    assert f"repository gc {FQRN}" in warning
    assert str(tmp_path) not in warning
