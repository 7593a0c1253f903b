"""What a long-running part says when it starts: who it is, and what is wrong.

On standard error, a line each: whoever starts it by hand sees it, and so does every
service manager.
"""

from importlib.metadata import version

import click

from workers.care.queue_standing import QueueStanding
from workers.config import Config
from workers.errors import TransientError
from workers.jobqueue.allowance import waiting_at_most
from workers.jobqueue.connection import shown_url
from workers.policy import PolicyFile
from workers.wiring import Front

# That the questions may take; whoever starts waits for Redis by itself later.
_ASKING_SECONDS = 2.5


def say_start(part: str, config: Config) -> None:
    """Say what starts, with what, and what would keep it from its work.

    Args:
        part: the command's name; whoever starts is not missed.
        config: that it has read.
    """
    facts = {
        "configuration": config.path,
        "address": config.public_url,
        "queue": shown_url(config),
        "repositories": ", ".join(config.repositories) or "none",
    }
    if part == "serve":
        facts["listens at"] = config.listen
    said = "; ".join(f"{name} {fact}" for name, fact in facts.items())
    click.echo(f"cvmfs-webhook {version('cvmfs-webhook')} {part}: {said}", err=True)
    for line in _wrong(part, config):
        click.echo(f"warning: {line}", err=True)


def _wrong(part: str, config: Config) -> list[str]:
    policy = PolicyFile(config.policy)
    try:
        with Front.open(config) as front, waiting_at_most(_ASKING_SECONDS):
            standing = QueueStanding.of(config, front, policy)
            problem = standing.problem()
            if problem is not None:
                return [f"nothing is accepted: {problem}"]
            warnings = standing.warnings()
    except TransientError as error:
        return [str(error)]
    return [line for missed, line in warnings.items() if missed != part]
