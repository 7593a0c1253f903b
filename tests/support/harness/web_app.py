"""The pages and the API over a real ledger, as one application to send requests to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from tests.support.harness.ledger import Bench, bench_on
from tests.support.harness.redis_server import RedisServer
from webhook import dashboard
from webhook.dashboard.pages import Sources
from webhook.intake.requests import PublishRequests
from webhook.web import api, headers, health, metrics, queue_pages
from webhook.web.login import Login
from workers.config import Secret
from workers.jobqueue import JobQueue
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


@dataclass
class Site:
    """An application with everything that it stands on."""

    bench: Bench
    app: Flask
    policy_path: Path
    queue: JobQueue
    problems: list[str] = field(default_factory=list)

    @property
    def client(self) -> FlaskClient:
        """A new browser or program."""
        return self.app.test_client()


@contextmanager
def site_on(
    server: RedisServer, folder: Path, *, public_url: str = "http://127.0.0.1:8080"
) -> Iterator[Site]:
    """Give a site with an empty ledger on ``server`` and a policy in ``folder``."""
    path = folder / "policy.yaml"
    path.write_text(POLICY)
    with bench_on(server) as bench:
        policy = PolicyFile(path)
        queue = JobQueue(bench.connection)
        login = Login([Secret(TOKEN)], https=public_url.startswith("https:"))
        app = Flask("webhook", static_folder=None)
        site = Site(bench, app, path, queue)
        requests = PublishRequests(policy, bench.ledger, queue)
        ttls = {FQRN: 60}
        pages = Sources(
            ledger=bench.ledger,
            policy=policy,
            requests=requests,
            login=login,
            ttls=ttls,
            public_url=public_url,
            problems=lambda: site.problems,
            clock=bench.clock,
        )
        app.register_blueprint(
            api.blueprint(
                ledger=bench.ledger,
                policy=policy,
                requests=requests,
                login=login,
                ttls=ttls,
            )
        )
        app.register_blueprint(dashboard.blueprint(pages))
        app.register_blueprint(
            queue_pages.blueprint(connection=bench.connection, login=login)
        )
        app.register_blueprint(
            metrics.blueprint(
                ledger=bench.ledger,
                queue=queue,
                policy=policy,
                login=login,
                kinds={"hub": "dockerhub", "lab": "gitlab"},
                clock=bench.clock,
            )
        )
        app.register_blueprint(
            health.blueprint(
                ledger=bench.ledger, policy=policy, is_durability_trusted=False
            )
        )
        headers.init_app(app)
        yield site
