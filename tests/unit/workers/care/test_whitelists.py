"""Whoever looks is told of a whitelist that ends, long before and with the mend."""

import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.harness.ledger import StoppedClock
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import OPERATOR, TOKEN
from webhook.app import create_app
from workers.care.head_watch import HeadWatch
from workers.care.repository import create_repository
from workers.care.whitelists import WhitelistWatch, renew_whitelists
from workers.config import Config, OperatorConfig, QueueConfig, RepositoryConfig, Secret
from workers.cvmfs import KeyRing, LocalStorage
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import WHITELIST
from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.policy import PolicyFile
from workers.wiring import Front, open_repository

FQRN = "unpacked.example.org"
DAY = 24 * 3600.0


@dataclass
class Watched:
    """An application with one repository, and a clock of its own."""

    config: Config
    client: FlaskClient
    watch: WhitelistWatch
    clock: StoppedClock = field(default_factory=lambda: StoppedClock(time.time()))

    @property
    def ends(self) -> float:
        return open_repository(self.config, FQRN).whitelist().ends

    @property
    def repository(self) -> RepositoryConfig:
        return self.config.repositories[FQRN]

    def look(self, moment: float) -> str:
        """Return the front page as it is at a moment."""
        self.clock.time = moment
        self.watch.look()
        return self.client.get("/").text

    def whitelists_check(self) -> tuple[int, str]:
        answer = self.client.get("/readyz")
        return answer.status_code, answer.get_json()["checks"]["whitelists"]


@pytest.fixture
def watched(redis_server: RedisServer, tmp_path: Path) -> Watched:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: [{allow: registry.example.org/**}]\n")
    storage = (tmp_path / "cvmfs").as_uri()
    repository = RepositoryConfig(FQRN, storage, keys=tmp_path / "keys")
    config = Config(
        state=tmp_path,
        queue=QueueConfig(url=Secret(redis_server.url)),
        operator=OperatorConfig((Secret(TOKEN),)),
        repositories={FQRN: repository},
        policy=policy,
    )
    connection = redis_server.client()
    connection.flushall()
    create_repository(config, FQRN)
    clock = StoppedClock(time.time())
    watch = WhitelistWatch(config, clock=clock)
    app = create_app(
        config,
        Front(connection, Ledger(connection), JobQueue(connection)),
        PolicyFile(policy),
        whitelists=watch,
        heads=HeadWatch(Config(), connection),
        clock=clock,
    )
    return Watched(config, app.test_client(), watch, clock)


def remove_master_key(watched: Watched) -> None:
    (watched.repository.keys / f"{FQRN}.masterkey").unlink()


def test_nothing_is_said_while_there_is_time(watched: Watched) -> None:
    page = watched.look(watched.ends - 10 * DAY)
    assert "whitelist" not in page
    assert watched.whitelists_check() == (200, "ok")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left", "said"),
    [
        (6.5 * DAY, "6 days"),
        (3 * DAY + 60, "3 days"),
        (1.5 * DAY, "36 hours"),
        (90 * 60, "90 min"),
        (1, "1 min"),
    ],
)
def test_its_end_is_announced_with_the_mend(
    watched: Watched, left: float, said: str
) -> None:
    remove_master_key(watched)
    page = watched.look(watched.ends - left)
    assert (
        f"whitelist of {FQRN} expires in {said}: run `cvmfs-webhook repository resign"
        f" {FQRN}`<"
    ) in page
    assert watched.whitelists_check() == (200, "ok")


def test_an_expired_one_is_told_of_and_does_not_turn_notifications_away(
    watched: Watched,
) -> None:
    remove_master_key(watched)
    page = watched.look(watched.ends)
    assert f"whitelist of {FQRN} has expired, so nothing is published there" in page
    assert f"repository resign {FQRN}`" in page
    code, said = watched.whitelists_check()
    assert code == 200
    assert said.startswith("expired")


@pytest.mark.slow
def test_a_renewal_that_fails_is_told_of(watched: Watched) -> None:
    page = watched.look(watched.ends - DAY)
    assert "`up` should have renewed it, its log says why it did not" in page


def test_a_renewed_one_is_no_news(watched: Watched) -> None:
    moment = watched.ends - DAY
    assert "whitelist" in watched.look(moment)
    open_repository(watched.config, FQRN).renew_whitelist(now=int(moment))
    assert "whitelist" not in watched.look(moment)
    renew_whitelists(watched.config)  # by our own clock there is time enough
    assert watched.ends > moment + 29 * DAY


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"2026\nE2026\nNx\n"])
def test_one_that_cannot_be_read_is_told_of_without_details(
    watched: Watched, content: bytes
) -> None:
    (Path(watched.repository.storage[7:]) / WHITELIST).write_bytes(content)
    page = watched.look(time.time())
    assert f"whitelist of {FQRN} cannot be read" in page
    assert str(watched.config.state) not in page


@pytest.mark.slow
def test_a_repository_that_is_not_there_is_told_of(watched: Watched) -> None:
    shutil.rmtree(watched.repository.storage[7:])
    page = watched.look(time.time())
    assert f"{FQRN} is not there: see whether its storage is mounted" in page


def test_prometheus_is_told_when_it_ends(watched: Watched) -> None:
    watched.watch.look()
    text = watched.client.get("/metrics", headers=OPERATOR).text
    name = f'cvmfs_webhook_whitelist_ends_timestamp_seconds{{repository="{FQRN}"}}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    assert float(line.split()[-1]) == watched.ends


@pytest.mark.slow
def test_it_looks_by_itself_and_keeps_nobody_waiting(watched: Watched) -> None:
    watched.clock.time = watched.ends
    whitelist = Path(watched.repository.storage[7:]) / WHITELIST
    content = whitelist.read_bytes()
    whitelist.unlink()
    os.mkfifo(whitelist)  # whoever reads it waits until somebody writes
    assert "expired" not in watched.client.get("/").text
    whitelist.write_bytes(content)
    for thread in threading.enumerate():
        if thread.name == "whitelists":
            thread.join()
    assert "has expired" in watched.client.get("/").text


def age(watched: Watched, days_left: float) -> None:
    """Let the whitelist have so much time left, by our own clock."""
    keys = KeyRing.load(FQRN, watched.repository.keys)
    assert keys.master_key is not None
    signed = int(time.time() - (30 - days_left) * DAY)
    data = write_whitelist(
        FQRN, [fingerprint(keys.certificate)], keys.master_key, now=signed
    )
    LocalStorage(Path(watched.repository.storage[7:])).replace(WHITELIST, data)


def test_it_is_renewed_at_half_of_its_time_and_not_before(watched: Watched) -> None:
    age(watched, 16)
    before = watched.ends
    renew_whitelists(watched.config)
    assert watched.ends == before
    age(watched, 14)
    renew_whitelists(watched.config)
    assert watched.ends > time.time() + 29 * DAY


def test_an_expired_one_is_renewed_too(watched: Watched) -> None:
    age(watched, -3)
    renew_whitelists(watched.config)
    assert watched.ends > time.time() + 29 * DAY


def test_of_many_who_could_renew_it_one_does(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    age(watched, 14)
    half = time.time() + 15 * DAY
    first = open_repository(watched.config, FQRN)
    second = open_repository(watched.config, FQRN)
    now = int(time.time())
    first.renew_whitelist(now=now, unless_valid_until=half)
    kept = first.storage.get(WHITELIST)
    second.renew_whitelist(now=now + 5, unless_valid_until=half)
    assert first.storage.get(WHITELIST) == kept


def test_where_nobody_can_renew_it_the_log_says_so_ten_days_before(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    remove_master_key(watched)
    renew_whitelists(watched.config, clock=lambda: watched.ends - 11 * DAY)
    assert not caplog.records
    renew_whitelists(watched.config, clock=lambda: watched.ends - 9 * DAY)
    (record,) = caplog.records
    assert f"repository resign {FQRN}" in record.getMessage()


def test_prometheus_and_probes_are_told_ten_days_before(watched: Watched) -> None:
    def told() -> tuple[str, list[str]]:
        text = watched.client.get("/metrics", headers=OPERATOR).text
        name = "cvmfs_webhook_whitelist_unrenewed{"
        (line,) = [line for line in text.splitlines() if line.startswith(name)]
        return line.split()[-1], watched.client.get("/readyz").get_json()["warnings"]

    watched.look(watched.ends - 11 * DAY)
    assert told() == ("0.0", [])
    watched.look(watched.ends - 9 * DAY)
    metric, (warning,) = told()
    assert metric == "1.0"
    assert "expires in 9 days" in warning
