"""``up``, ``serve`` and ``worker``: the long-running parts; ``show-setup`` for them."""

from pathlib import Path

import click
from click.core import ParameterSource

from webhook.commands.frame import (
    DONE,
    config_option,
    json_option,
    lead_jobs_to,
    print_json,
    read_config,
    reports_errors,
    start_logging,
)
from webhook.commands.starting import say_start
from webhook.machine.setup import setup_json, setup_lines
from webhook.machine.up import up as run_everything
from webhook.server import listening_on, run_server
from workers import jobs
from workers.care.chores import care_for_repositories
from workers.care.repository import create_missing_repositories
from workers.config.disk_space import why_work_waits
from workers.jobqueue import PATIENCE, run_worker
from workers.jobqueue.between_jobs import BetweenJobs
from workers.wiring import Front

listen_option = click.option(
    "--listen", metavar="HOST:PORT", help="Instead of the configuration's."
)


@click.command()
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything is kept; made at the first start.  [default: .state]",
)
@listen_option
@config_option
@click.pass_context
@reports_errors
def up(
    context: click.Context,
    *,
    state: Path | None,
    listen: str | None,
    config_path: Path | None,
) -> int:
    """Run everything on one machine: queue, receiver, workers and repository.

    The first start writes config.yaml and policy.yaml with fresh secrets into the
    state directory. Ctrl-C ends it cleanly.
    """
    source = context.get_parameter_source("config_path")
    if state is not None and source is ParameterSource.ENVIRONMENT:
        config_path = None  # what is said here counts more than what is set there
    run_everything(
        config_path=config_path,
        state=state,
        listen=listen,
        prepare=create_missing_repositories,
        chore=care_for_repositories,
    )
    return DONE


@click.command()
@listen_option
@config_option
@reports_errors
def serve(*, listen: str | None, config_path: Path | None) -> int:
    """Run the receiver: notifications, API, dashboard and repository files."""
    config = listening_on(read_config(config_path), listen)
    start_logging(config)
    say_start("serve", config)
    run_server(config)
    return DONE


@click.command()
@json_option
@config_option
@reports_errors
def show_setup(*, as_json: bool, config_path: Path | None) -> int:
    """Print what to paste elsewhere: URLs, secrets, how to mount, the operator's token.

    It asks nobody: the configuration alone says it.
    """
    config = read_config(config_path)
    if as_json:
        print_json(setup_json(config))
    else:
        click.echo("\n".join(setup_lines(config)))
    return DONE


@click.command()
@click.option("--burst", is_flag=True, help="End when nothing is owed any more.")
@config_option
@reports_errors
def worker(*, burst: bool, config_path: Path | None) -> int:
    """Run one worker: it converts and publishes one image at a time."""
    config = read_config(config_path)
    start_logging(config)
    lead_jobs_to(config)
    say_start("worker", config)
    with Front.open(config, **PATIENCE) as front:
        run_worker(
            front.connection,
            front.ledger,
            burst=burst,
            prepare=jobs.prepare,
            may_begin=BetweenJobs(
                lambda: why_work_waits(config), lambda: care_for_repositories(config)
            ).may_begin,
            memory_mib=config.worker_memory_mib,
        )
    return DONE
