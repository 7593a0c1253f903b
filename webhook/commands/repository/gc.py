"""``repository gc``: what it is going to delete, how far it is, what it did."""

from collections.abc import Iterator
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    Duration,
    config_option,
    json_option,
    print_json,
    read_config,
    reports_errors,
)
from webhook.commands.progress_line import ProgressLine
from webhook.commands.repository.prune import pruned_json, pruned_line
from workers.care.repository import collect_garbage, is_full, prune_repository
from workers.config import Config
from workers.cvmfs import Collection, GivenUp, Pile, Retention, Stage
from workers.documents.quantities import iso_time

_UNITS = ("B", "kiB", "MiB", "GiB", "TiB")
_UNIT = 1024
_SHORT_GRACE_SECONDS = 3600
_SHOWN_REVISIONS = 3


@click.command()
@click.argument("fqrn")
@click.option("--dry-run", is_flag=True, help="Show the plan, delete nothing.")
@click.option(
    "--keep",
    "newest",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Keep so many of the newest revisions, however old they are.",
)
@click.option(
    "--keep-for",
    "seconds",
    type=Duration(),
    default="3d",
    show_default=True,
    help="And all that were current within that time.",
)
@click.option(
    "--grace",
    "grace_seconds",
    type=Duration(),
    default="1d",
    show_default=True,
    help="And every object that was put within that time.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="First take out what no name uses, as `repository prune` does.",
)
@click.option(
    "--restorable-for",
    "restorable_seconds",
    type=Duration(),
    default="30d",
    show_default=True,
    help="With --prune: but what was live within that time.",
)
@json_option
@config_option
@reports_errors
def gc(  # noqa: C901, PLR0913 - one for each option
    fqrn: str,
    *,
    dry_run: bool,
    newest: int,
    seconds: int,
    grace_seconds: int,
    prune: bool,
    restorable_seconds: int,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Delete what no kept revision of FQRN needs, and leftovers of failed publishes.

    Tagged revisions are kept. Publishing goes on meanwhile. The plan is printed before
    anything is deleted. With --prune this is all that a timer has to run.
    """
    config = read_config(config_path)
    retention = Retention(newest, seconds, grace_seconds)
    if prune:
        if not dry_run and is_full(config, fqrn):
            _make_room(config, fqrn, retention, is_told=not as_json)
        pruned, revision = prune_repository(
            config, fqrn, grace_seconds=restorable_seconds, dry_run=dry_run
        )
        if not as_json:
            click.echo(pruned_line(fqrn, pruned, revision, dry_run=dry_run))
    if grace_seconds < _SHORT_GRACE_SECONDS and not dry_run:
        click.echo(
            f"warning: with a grace of {grace_seconds} s, images that are being "
            "converted now lose what they share with garbage and begin again",
            err=True,
        )
    line = ProgressLine()

    def tell(done: Collection) -> None:
        if done.stage is Stage.PLANNED and not as_json:
            line.clear()
            for told in _plan(fqrn, done, dry_run=dry_run):
                click.echo(told)
        line.show(_how_far(done))

    done = collect_garbage(config, fqrn, retention, dry_run=dry_run, tell=tell)
    line.clear()
    if as_json:
        said = _collection(fqrn, done, dry_run=dry_run)
        if prune:
            said["pruned"] = pruned_json(fqrn, pruned, revision, dry_run=dry_run)
        print_json(said)
    elif not dry_run:
        click.echo(f"{fqrn}: deleted {_shown(done.deleted)}")
    return DONE


def _make_room(
    config: Config, fqrn: str, retention: Retention, *, is_told: bool
) -> None:
    """Collect before anything is taken out, for that writes a new revision."""
    done = collect_garbage(config, fqrn, retention, dry_run=False, tell=lambda _: None)
    if is_told:
        click.echo(f"{fqrn}: its disk is full; at first deleted {_shown(done.deleted)}")


def _how_far(done: Collection) -> str:
    if done.stage is Stage.MARKING:
        return f"{done.stage}: {done.catalogs_read} catalogs"
    if done.stage is Stage.LISTING:
        seen = done.kept.objects + done.young.objects + done.planned.objects
        return f"{done.stage}: {seen} objects"
    return f"{done.stage}: {done.deleted.objects} of {done.planned.objects} objects"


def _plan(fqrn: str, done: Collection, *, dry_run: bool) -> Iterator[str]:
    verb = "would be deleted" if dry_run else "to be deleted"
    given_up = done.revisions_given_up
    yield (
        f"{fqrn}: {done.revisions_kept} revisions kept, {len(given_up)} given up; "
        f"{_shown(done.planned)} {verb}"
    )
    for one in given_up[:_SHOWN_REVISIONS]:
        yield f"  revision {one.revision:>8} of {iso_time(one.timestamp)} goes"
    if len(given_up) > _SHOWN_REVISIONS:
        more = len(given_up) - _SHOWN_REVISIONS
        last = given_up[-1]
        moment = iso_time(last.timestamp)
        yield f"  and {more} more, down to {last.revision} of {moment}"
    for (kind, why), pile in sorted(done.garbage.items()):
        yield f"  {_shown(pile)} {kind} {why}"
    if done.leftovers.objects:
        yield f"  {_shown(done.leftovers)} files in data/txn of writers long dead"
    yield f"  {_shown(done.kept)} objects in use stay"
    if done.young.objects:
        yield f"  {_shown(done.young)} objects within their grace time stay"
    if done.waiting.objects:
        yield (
            f"  {_shown(done.waiting)} files in data/txn stay, for they may be "
            "somebody's: ours for the grace time, of others for a week more"
        )
    if done.foreign:
        yield f"  {done.foreign} files that are no objects stay"


def _collection(fqrn: str, done: Collection, *, dry_run: bool) -> dict[str, object]:
    return {
        "repository": fqrn,
        "dry_run": dry_run,
        "revisions_kept": done.revisions_kept,
        "revisions_given_up": [_given_up(one) for one in done.revisions_given_up],
        "garbage": [
            {"kind": kind, "why": why, **pile._asdict()}
            for (kind, why), pile in sorted(done.garbage.items())
        ],
        "leftovers": done.leftovers._asdict(),
        "planned": done.planned._asdict(),
        "young": done.young._asdict(),
        "kept": done.kept._asdict(),
        "foreign": done.foreign,
        "deleted": done.deleted._asdict(),
    }


def _given_up(one: GivenUp) -> dict[str, object]:
    return {
        "revision": one.revision,
        "root_catalog": str(one.root_catalog),
        "published": iso_time(one.timestamp),
    }


def _shown(pile: Pile) -> str:
    amount, unit = float(pile.bytes), 0
    while amount >= _UNIT and unit < len(_UNITS) - 1:
        amount /= _UNIT
        unit += 1
    return f"{pile.objects} ({amount:.4g} {_UNITS[unit]})"
