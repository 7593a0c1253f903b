"""Pages, probes and metrics say which repository went back, and what was set aside."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from flask.testing import FlaskClient

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import OPERATOR, TOKEN
from tests.support.repositories.repository_builders import FQRN, new_repository
from webhook.app import create_app
from workers.care.head_watch import HeadWatch
from workers.config import Config, OperatorConfig, QueueConfig, RepositoryConfig, Secret
from workers.cvmfs.storage.storage import MANIFEST
from workers.jobqueue import JobQueue
from workers.ledger import KnownHeads, Ledger
from workers.policy import PolicyFile
from workers.publishing.ready_queue import ReadyBatches
from workers.wiring import Front


@dataclass
class Watched:
    """An application with one repository, whose keys it has not."""

    root: Path
    connection: redis.Redis
    watch: HeadWatch
    client: FlaskClient

    def metric(self, name: str) -> float:
        self.watch.look()
        text = self.client.get("/metrics", headers=OPERATOR).text
        start = f'cvmfs_webhook_{name}{{repository="{FQRN}"}} '
        [line] = [line for line in text.splitlines() if line.startswith(start)]
        return float(line.removeprefix(start))

    def check(self) -> tuple[int, str]:
        answer = self.client.get("/readyz")
        return answer.status_code, answer.get_json()["checks"]["repositories"]


@pytest.fixture
def watched(redis_server: RedisServer, tmp_path: Path) -> Iterator[Watched]:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: [{allow: registry.example.org/**}]\n")
    root = tmp_path / "storage"
    root.mkdir()
    new_repository(root)
    repository = RepositoryConfig(FQRN, root.as_uri(), keys=tmp_path / "keys")
    config = Config(
        state=tmp_path,
        queue=QueueConfig(url=Secret(redis_server.url)),
        operator=OperatorConfig((Secret(TOKEN),)),
        repositories={FQRN: repository},
        policy=policy,
    )
    with redis_server.client() as connection:
        connection.flushall()
        watch = HeadWatch(config, connection)
        front = Front(connection, Ledger(connection), JobQueue(connection))
        app = create_app(config, front, PolicyFile(policy), heads=watch)
        yield Watched(root, connection, watch, app.test_client())


def test_nothing_is_said_while_all_is_well(watched: Watched) -> None:
    assert watched.metric("repository_went_back") == 0
    assert watched.metric("ready_commits_set_aside") == 0
    assert watched.check() == (200, "ok")
    assert "went back" not in watched.client.get("/").text


def test_a_repository_that_went_back_is_told_of_everywhere(watched: Watched) -> None:
    KnownHeads(watched.connection).note(FQRN, 9, "a")
    assert watched.metric("repository_went_back") == 1
    page = watched.client.get("/").text
    assert f"nothing is published in {FQRN}: it went back to revision 1" in page
    assert f"`cvmfs-webhook ledger rebuild {FQRN}`" in page
    assert str(watched.root) not in page
    code, said = watched.check()
    # What is accepted waits, as with a whitelist that has expired.
    assert code == 200
    assert said.startswith("older than what is known")


def test_entries_that_were_set_aside_are_counted(watched: Watched) -> None:
    queue = ReadyBatches(watched.connection, Ledger(watched.connection), FQRN)
    queue.set_aside({"one": "why", "two": "why"})
    assert watched.metric("ready_commits_set_aside") == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_a_manifest_that_cannot_be_read_is_logged(
    watched: Watched, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    KnownHeads(watched.connection).note(FQRN, 9, "a")
    (watched.root / MANIFEST).unlink()
    if content is not None:
        (watched.root / MANIFEST).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert watched.metric("repository_went_back") == 0
    assert f"repository={FQRN} its manifest cannot be read" in caplog.text


def test_what_the_ledger_cannot_say_is_not_said(watched: Watched) -> None:
    for key in (f"head:{FQRN}", f"set-aside:{FQRN}"):
        watched.connection.set(f"cvmfs-webhook:{key}", "odd")
    watched.watch.look()
    assert watched.watch.warnings() == []
