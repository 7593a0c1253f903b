"""The receiver: introduces the rooms of the front to each other."""

from flask import Flask

from webhook import hooks
from webhook.intake import DurabilityCheck, Intake
from workers.config import Config
from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.policy import PolicyFile


def create_app(
    config: Config, ledger: Ledger, queue: JobQueue, policy_file: PolicyFile
) -> Flask:
    """Return the WSGI application.

    Args:
        config: sources and limits are taken from it.
        ledger: connected.
        queue: connected to the same Redis.
        policy_file: shared by all requests.
    """
    app = Flask("webhook", static_folder=None)
    # A sender follows a redirect with its secret, or takes it for success.
    app.url_map.merge_slashes = False
    is_trusted = config.queue.durability == "trusted"
    check = DurabilityCheck(ledger.durability_problem)
    intake = Intake(
        ledger,
        queue,
        policy_file,
        durability=(lambda: None) if is_trusted else check.problem,
    )
    app.register_blueprint(
        hooks.blueprint(sources=config.sources, limits=config.limits, intake=intake)
    )
    return app
