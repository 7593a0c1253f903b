"""The application of the receiver over real parts, to send requests to.

``open_web_app`` is for pages and the API: its clock stands still. ``create_app`` takes
no clock, so what has one is introduced here by hand. ``create_web_app`` is the real
``create_app`` over a configuration file, for hooks and for all routes together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.harness.ledger import LedgerDriver, open_ledger_driver
from tests.support.harness.redis_server import RedisServer
from webhook import dashboard
from webhook.app import create_app
from webhook.dashboard.pages import Sources
from webhook.intake.requests import PublishRequests
from webhook.web import api, headers, health, metrics, queue_pages
from webhook.web.login import Login
from workers.config import Secret, load_config
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect
from workers.ledger import Ledger
from workers.policy import PolicyFile

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
    with open_ledger_driver(redis_server) as driver:
        policy = PolicyFile(path)
        queue = JobQueue(driver.connection)
        login = Login([Secret(TOKEN)], https=public_url.startswith("https:"))
        app = Flask("webhook", static_folder=None)
        web = WebApp(driver, app, path, queue)
        requests = PublishRequests(policy, driver.ledger, queue)
        ttls = {FQRN: 60}
        pages = Sources(
            ledger=driver.ledger,
            policy=policy,
            requests=requests,
            login=login,
            ttls=ttls,
            public_url=public_url,
            problems=lambda: web.problems,
            clock=driver.clock,
        )
        for blueprint in (
            api.blueprint(
                ledger=driver.ledger,
                policy=policy,
                requests=requests,
                login=login,
                ttls=ttls,
            ),
            dashboard.blueprint(pages),
            queue_pages.blueprint(connection=driver.connection, login=login),
            metrics.blueprint(
                ledger=driver.ledger,
                queue=queue,
                policy=policy,
                login=login,
                kinds={"hub": "dockerhub", "lab": "gitlab"},
                clock=driver.clock,
            ),
            health.blueprint(
                ledger=driver.ledger, policy=policy, is_durability_trusted=False
            ),
        ):
            app.register_blueprint(blueprint)
        headers.init_app(app)
        yield web


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
        queue, policy = JobQueue(connection), PolicyFile(config.policy)
        app = create_app(config, driver.ledger, queue, policy)
        yield WebApp(driver, app, config.policy, queue)


def csrf_token(page: TestResponse) -> str:
    """Return what proves that a form of ours is sent back."""
    return page.text.partition('name="csrf_token" value="')[2].partition('"')[0]


def log_in(client: FlaskClient, token: str = TOKEN, **form: str) -> TestResponse:
    """Send the form of /login as a browser does."""
    proof = csrf_token(client.get("/login"))
    return client.post("/login", data={"csrf_token": proof, "token": token, **form})
