"""``reconcile``: ask the registries for what the policy says to watch."""

import logging
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Event

import click

from webhook.commands.frame import (
    DONE,
    FAILED,
    LATER,
    config_option,
    json_option,
    print_json,
    read_config,
    read_policy,
    reports_errors,
    start_logging,
)
from webhook.commands.starting import say_start
from webhook.intake.intake import Intake, durability_check
from webhook.reconcile.look import LookResult, RegistryLook
from webhook.reconcile.reconciler import Reconciler
from webhook.reconcile.redeciding import Redeciding
from webhook.reconcile.remaking import Remaking
from webhook.reconcile.resuming import Resuming
from workers.care.background_look import BackgroundLook
from workers.care.chores import care_for_repositories
from workers.config import Config
from workers.errors import TransientError
from workers.ledger import Looks, TurnedAway
from workers.policy import PolicyFile
from workers.wiring import Front, open_registry

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 10.0


@click.command()
@click.option("--once", is_flag=True, help="Look at everything now, and end.")
@json_option
@config_option
@reports_errors
def reconcile(*, once: bool, as_json: bool, config_path: Path | None) -> int:
    """Find pushes and deletions that nobody told us of.

    Asks the registries for what the rules of the policy `watch`, each as often as it
    says, and removes tags that they no longer `keep`. Runs until it is told to end.
    """
    config = read_config(config_path)
    with Front.open(config) as front, closing(open_registry(config)) as registry:
        policy = read_policy(config) if once else PolicyFile(config.policy)
        is_trusted = config.queue.durability == "trusted"
        intake = Intake(
            front.ledger,
            front.queue,
            policy,
            durability=durability_check(front.ledger, is_trusted=is_trusted),
        )
        looks = Looks(front.connection, front.ledger.now)
        looker = RegistryLook(front.ledger, looks, registry, intake, front.queue)
        reconciler = Reconciler(looker, policy)
        say_start("reconcile", config)
        turned_away = TurnedAway(front.connection)
        redeciding = Redeciding(front.ledger, turned_away, front.queue, policy)
        resuming = Resuming(front.ledger, front.queue, policy)
        if once:
            return _once(reconciler, redeciding, resuming, as_json=as_json)
        remaking = Remaking(front.ledger, front.queue, policy)
        _keep_on(reconciler, redeciding, [resuming, remaking], config)
    return DONE


def _once(
    reconciler: Reconciler,
    redeciding: Redeciding,
    resuming: Resuming,
    *,
    as_json: bool,
) -> int:
    allowed = redeciding.round(everything=True)
    if not as_json:
        for name in allowed:
            click.echo(f"{name}: refused before, allowed now; queued")
    found = []
    for look in reconciler.round(everything=True):
        found.append(look)
        if not as_json:
            click.echo(_line(look))
    resumed = resuming.round()
    if as_json:
        looks = [_json(look) for look in found]
        print_json(
            {"repositories": looks, "allowed_now": allowed, "asked_again": resumed}
        )
    else:
        for reference in resumed:
            click.echo(f"{reference}: was given up, is tried again")
        if not found and not resumed and not allowed:
            click.echo(
                "nothing to look at: no rule of the policy has `watch:`, and no"
                " repository that one would `keep:` is known"
            )
    if any(look.problem is not None for look in found):
        return LATER
    is_blind = found and all(look.unlisted is not None for look in found)
    return FAILED if is_blind else DONE


def _keep_on(
    reconciler: Reconciler,
    redeciding: Redeciding,
    others: Sequence[Resuming | Remaking],
    config: Config,
) -> None:
    """Look at what is due until a signal says to end, and at what others find.

    What a changed policy allows comes first: somebody waits for it.
    """
    start_logging(config)
    care = BackgroundLook(lambda: _care(config), None, "care", every_seconds=3600)
    ending = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    while not ending.is_set():
        care.seen()
        try:
            redeciding.round()
            for _ in reconciler.round():
                if ending.is_set():
                    break
            for other in others:
                other.round()
        except TransientError as error:
            log.warning("the registries are asked again later: %s", error)
        ending.wait(_PAUSE_SECONDS)


def _care(config: Config) -> None:
    try:
        care_for_repositories(config)
    except Exception:
        log.exception("the upkeep of repositories")


def _line(found: LookResult) -> str:
    if found.unlisted is not None:
        return f"{found.name}: {found.unlisted}"
    parts = [f"{found.tags} tags"] if found.tags or found.problem is None else []
    for word, tags in (
        ("queued", found.pushed),
        ("deleted there", found.deleted),
        ("not kept", found.expired),
        ("not kept for long", found.surplus),
    ):
        if tags:
            parts.append(f"{word}: {', '.join(tags)}")
    if found.problem is not None:
        parts.append(found.problem)
    return f"{found.name}: {'; '.join(parts)}"


def _json(found: LookResult) -> dict[str, object]:
    return {
        "repository": found.name,
        "tags": found.tags,
        "queued": found.pushed,
        "deleted": found.deleted,
        "not_kept": found.expired,
        "not_kept_for_long": found.surplus,
        "problem": found.problem,
        "unlisted": found.unlisted,
    }
