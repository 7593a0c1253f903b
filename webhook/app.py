"""The receiver: introduces the rooms of the front to each other."""

import time
from collections.abc import Callable, Sequence

from flask import Flask

from webhook import dashboard
from webhook.dashboard.pages import Sources
from webhook.intake.intake import Carrier, Intake, durability_check
from webhook.intake.requests import PublishRequests
from webhook.web import (
    api,
    cvmfs_files,
    headers,
    health,
    hooks,
    metrics,
    patience,
    proxies,
    queue_pages,
)
from webhook.web.audience import Audience, PolicyMemory
from webhook.web.login import Login
from webhook.web.path_prefix import PathPrefix
from workers.care.disk_watch import DiskWatch
from workers.care.head_watch import HeadWatch
from workers.care.queue_standing import QueueStanding
from workers.care.whitelists import WhitelistWatch
from workers.config import Config
from workers.ledger import EndedSessions, OpenImages
from workers.policy import PolicyFile
from workers.policy.watching import RECONCILER
from workers.wiring import Front

Problems = Callable[[], Sequence[str]]


def create_app(  # noqa: PLR0913 - what is watched, each by its name
    config: Config,
    front: Front,
    policy_file: PolicyFile,
    *,
    carrier: Carrier | None = None,
    whitelists: WhitelistWatch | None = None,
    heads: HeadWatch | None = None,
    disks: DiskWatch | None = None,
    clock: Callable[[], float] = time.time,
) -> Flask:
    """Return the WSGI application.

    Args:
        config: sources and limits are taken from it.
        front: ledger and queue, connected.
        policy_file: shared by all requests.
        carrier: takes the jobs of notifications to the queue; None: it does so itself,
            before they are answered.
        whitelists: those of the repositories; None: they are looked at by its own.
        heads: the same of their heads.
        disks: the same of the room for them.
        clock: of what is shown; seconds since the epoch.
    """
    ledger, queue = front.ledger, front.queue
    whitelists = whitelists or WhitelistWatch(config, clock=clock)
    heads = heads or HeadWatch(config, front.connection)
    disks = disks or DiskWatch(config)
    app = Flask("webhook", static_folder=None)
    # A sender follows a redirect with its secret, or takes it for success.
    app.url_map.merge_slashes = False
    is_trusted = config.queue.durability == "trusted"
    durability = durability_check(ledger, is_trusted=is_trusted)
    prefix = PathPrefix(config.public_url)
    login = Login(
        config.operator.tokens,
        https=config.public_url.startswith("https:"),
        cookie_path=prefix.cookie_path,
        ended=EndedSessions(front.connection),
    )
    login.init_app(app)
    requests = PublishRequests(policy_file, ledger, queue)
    standing = QueueStanding.of(config, front, policy_file)
    ttls = {fqrn: repository.ttl for fqrn, repository in config.repositories.items()}
    open_images = OpenImages(front.connection, PolicyMemory(policy_file).allowed)
    audience = Audience(ledger, open_images, login)
    pages = Sources(
        ledger=ledger,
        audience=audience,
        policy=policy_file,
        requests=requests,
        login=login,
        ttls=ttls,
        origin=prefix.origin,
        site=config.site,
        problems=_problems(
            durability,
            standing,
            lambda: [
                *whitelists.warnings(),
                *heads.warnings(),
                *disks.warnings(),
            ],
        ),
        clock=clock,
    )
    for blueprint in (
        hooks.blueprint(
            sources=config.sources,
            limits=config.limits,
            intake=Intake(ledger, carrier or queue, policy_file, durability=durability),
        ),
        api.blueprint(
            ledger=ledger,
            audience=audience,
            policy=policy_file,
            requests=requests,
            login=login,
            ttls=ttls,
            site=config.site,
        ),
        dashboard.blueprint(pages),
        queue_pages.blueprint(connection=front.connection, login=login),
        metrics.blueprint(
            ledger=ledger,
            queue=queue,
            policy=policy_file,
            login=login,
            kinds={
                RECONCILER: RECONCILER,
                **{name: source.kind for name, source in config.sources.items()},
            },
            standing=standing,
            whitelists=whitelists.standings,
            heads=heads.standings,
            disks=disks.standings,
            clock=clock,
        ),
        health.blueprint(
            ledger=ledger,
            policy=policy_file,
            is_durability_trusted=is_trusted,
            standing=standing,
            has_expired=whitelists.has_expired,
            went_back=lambda: bool(heads.warnings()),
            warnings=lambda: [*whitelists.warnings(), *disks.warnings()],
        ),
        cvmfs_files.blueprint(cvmfs_files.local_roots(config), config.site),
    ):
        app.register_blueprint(blueprint)
    headers.init_app(app)
    prefix.init_app(app)
    patience.init_app(app)
    proxies.init_app(app, proxies.TrustedProxies(config.trusted_proxies))
    return app


def _problems(
    durability: Callable[[], str | None],
    standing: QueueStanding,
    warnings: Problems,
) -> Problems:
    """Return what says, at each look, what everybody should know is wrong.

    The pages themselves see to the policy file: what is wrong in it is not for all.
    """
    return lambda: [
        problem
        for problem in (
            durability(),
            *standing.warnings().values(),
            *warnings(),
        )
        if problem
    ]
