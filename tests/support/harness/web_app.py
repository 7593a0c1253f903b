"""The application of the receiver over real parts, to send requests to.

``create_app`` puts both together: ``open_web_app`` for pages and the API, on a clock
that stands still; ``create_web_app`` over a configuration file, for hooks and for all
routes together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.harness.ledger import LedgerDriver, open_ledger_driver
from tests.support.harness.redis_server import RedisServer
from webhook.app import create_app
from workers.care.head_watch import HeadWatch
from workers.care.whitelists import WhitelistStanding, WhitelistWatch
from workers.config import (
    Config,
    OperatorConfig,
    RepositoryConfig,
    Secret,
    SourceConfig,
    load_config,
)
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect
from workers.ledger import Ledger
from workers.policy import PolicyFile
from workers.wiring import Front

TOKEN = "the operator's token, which is long"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
FQRN = "unpacked.example.org"
POLICY = """\
version: 1
rules:
  - allow: registry.example.org/**
  - deny: docker.io/unknownuser/**
    reason: not a namespace of the experiment
"""
CONFIG = """\
queue: {{url: "{redis_url}"}}
operator: {{token: "{token}"}}
sources:
  hub: {{kind: dockerhub, secret: [s3cret, next-secret]}}
  local: {{kind: distribution, registry: registry.example, secret: s3cret}}
  lab: {{kind: gitlab, registry: registry.example, secret: schlüssel}}
  "off": {{kind: dockerhub, secret: s3cret, enabled: false}}
{more}"""
HOOK_POLICY = """\
version: 1
rules:
  - allow: docker.io/acme/*
  - allow: registry.example/team/**
"""


@dataclass
class WebApp:
    """An application with everything that it stands on.

    Attributes:
        driver: the ledger.
        problems: what the pages tell everybody; of ``open_web_app`` only.
    """

    driver: LedgerDriver
    app: Flask
    policy_path: Path
    queue: JobQueue
    problems: list[str] = field(default_factory=list)

    @property
    def client(self) -> FlaskClient:
        """A new browser or program."""
        return self.app.test_client()

    @property
    def ledger(self) -> Ledger:
        return self.driver.ledger

    @property
    def connection(self) -> redis.Redis:
        return self.driver.connection


@contextmanager
def open_web_app(
    redis_server: RedisServer,
    folder: Path,
    *,
    public_url: str = "http://127.0.0.1:8080",
) -> Iterator[WebApp]:
    """Give pages and API over an empty ledger, with a policy in ``folder``."""
    path = folder / "policy.yaml"
    path.write_text(POLICY)
    config = Config(
        state=folder,
        public_url=public_url,
        operator=OperatorConfig((Secret(TOKEN),)),
        sources={
            name: SourceConfig(name, kind, (Secret("s3cret"),), "registry.example.org")
            for name, kind in {"hub": "dockerhub", "lab": "gitlab"}.items()
        },
        repositories={
            FQRN: RepositoryConfig(FQRN, (folder / "cvmfs").as_uri(), ttl=60)
        },
        policy=path,
    )
    with open_ledger_driver(redis_server) as driver:
        problems: list[str] = []
        front = Front(driver.connection, driver.ledger, JobQueue(driver.connection))
        app = create_app(
            config,
            front,
            PolicyFile(path),
            whitelists=_Whitelists(config, problems),
            heads=HeadWatch(Config(), driver.connection),
            clock=driver.clock,
        )
        yield WebApp(driver, app, path, front.queue, problems)


class _Whitelists(WhitelistWatch):
    """Nothing is wrong with whitelists but what a test says."""

    def __init__(self, config: Config, problems: list[str]) -> None:
        super().__init__(config)
        self._problems = problems

    def standings(self) -> Sequence[WhitelistStanding]:
        return ()

    def warnings(self) -> Sequence[str]:
        return self._problems


def write_config(folder: Path, redis_server: RedisServer, more: str = "") -> Path:
    """Empty the server; write a configuration and a policy; return the former's path.

    Args:
        folder: for both files.
        server: the queue's.
        more: lines for the end of the configuration.
    """
    with redis_server.client() as connection:
        connection.flushall()
    (folder / "policy.yaml").write_text(HOOK_POLICY)
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(redis_url=redis_server.url, token=TOKEN, more=more))
    return path


@contextmanager
def create_web_app(path: Path) -> Iterator[WebApp]:
    """Give the application of a configuration, put together as it really is."""
    config = load_config(path, {})
    with connect(config) as connection:
        driver = LedgerDriver(connection)
        driver.ledger = Ledger(connection)  # on the clock of the server
        front = Front(connection, driver.ledger, JobQueue(connection))
        heads = HeadWatch(Config(), connection)
        app = create_app(config, front, PolicyFile(config.policy), heads=heads)
        yield WebApp(driver, app, config.policy, front.queue)


def csrf_token(page: TestResponse) -> str:
    """Return what proves that a form of ours is sent back."""
    return page.text.partition('name="csrf_token" value="')[2].partition('"')[0]


def log_in(client: FlaskClient, token: str = TOKEN, **form: str) -> TestResponse:
    """Send the form of /login as a browser does."""
    proof = csrf_token(client.get("/login"))
    return client.post("/login", data={"csrf_token": proof, "token": token, **form})
