"""``ledger rebuild``: the records of images made true by the repositories."""

from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    config_option,
    confirm_name,
    json_option,
    name_option,
    print_json,
    read_config,
    reports_errors,
)
from workers.care.heads import head_went_back
from workers.care.repository import Rebuilt, rebuild_ledger
from workers.config import Config
from workers.ledger import Change

_SAID = {
    Change.LIVE: "live",
    Change.GONE: "not there any more",
    Change.OTHER: "there, but not what its registry has",
    Change.NEWER: "left alone: the ledger knows of a later revision",
    Change.ELSEWHERE: "left alone: the ledger has it from another repository",
}


@click.group()
def ledger() -> None:
    """Look after the records of what was asked for and how it went."""


@ledger.command()
@click.argument("fqrn", required=False)
@name_option
@json_option
@config_option
@reports_errors
def rebuild(
    fqrn: str | None, *, name: str | None, as_json: bool, config_path: Path | None
) -> int:
    """Let the ledger show as live what is live in FQRN, or in all repositories.

    After a rollback, or when the queue server has lost its data. Work that waits or
    runs is not touched. Records that cannot be read are mended. Histories of runs do
    not come back.

    Where a repository is older than what the ledger knows, nothing is published until
    this command was told its name: what was published since counts no more then.
    """
    config = read_config(config_path)
    names = [fqrn] if fqrn is not None else list(config.repositories)
    done = [_rebuilt(config, each, name) for each in names]
    if as_json:
        print_json([rebuilt_json(one) for one in done])
    else:
        for one in done:
            show_rebuilt(one)
    return DONE


def _rebuilt(config: Config, fqrn: str, name: str | None) -> Rebuilt:
    why = head_went_back(config, fqrn)
    if why is not None:
        confirm_name(fqrn, name, f"{fqrn}: {why}")
    return rebuild_ledger(config, fqrn, is_older_accepted=why is not None)


def show_rebuilt(done: Rebuilt) -> None:
    """Print what became of the records of one repository."""
    for reference, change in sorted(done.changes.items()):
        if change is not Change.SAME:
            click.echo(f"  {reference}: {_SAID[change]}")
    for reference in done.mended:
        click.echo(f"  {reference}: its record could not be read, and is mended")
    for path in done.unreadable:
        click.echo(f"  {path}: not understood, so not live", err=True)
    same = sum(change is Change.SAME for change in done.changes.values())
    click.echo(
        f"{done.fqrn}: revision {done.revision}, "
        f"{len(done.changes) - same} images shown anew, {same} as before"
    )


def rebuilt_json(done: Rebuilt) -> dict[str, object]:
    """Return the same for scripts."""
    return {
        "repository": done.fqrn,
        "revision": done.revision,
        "images": dict(sorted(done.changes.items())),
        "unreadable": list(done.unreadable),
        "mended": list(done.mended),
    }
