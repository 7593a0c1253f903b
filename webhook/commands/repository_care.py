"""``repository gc|tag|rollback|resign``: what keeps a native repository in order."""

import sys
import time
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    config_option,
    json_option,
    print_json,
    read_config,
    reports_errors,
)
from workers.config import Config
from workers.cvmfs import Collection, Pile, Retention, Tag
from workers.quantities import BadQuantity, parse_duration
from workers.repository_care import (
    add_tag,
    collect_garbage,
    remove_tag,
    resign,
    roll_back,
)
from workers.services import open_repository

_REFRESH_SECONDS = 0.2
_UNITS = ("B", "kiB", "MiB", "GiB")
_UNIT = 1024


class _Duration(click.ParamType[int]):
    """``45s``, ``15m``, ``12h``, ``30d`` or ``2w``, as seconds."""

    name = "duration"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        try:
            return value if isinstance(value, int) else parse_duration(str(value))
        except BadQuantity as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("fqrn")
@click.option("--dry-run", is_flag=True, help="Find what could go, delete nothing.")
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
    type=_Duration(),
    default="3d",
    show_default=True,
    help="And all that were current within that time.",
)
@click.option(
    "--grace",
    "grace_seconds",
    type=_Duration(),
    default="1d",
    show_default=True,
    help="And every object that was put within that time.",
)
@json_option
@config_option
@reports_errors
def gc(
    fqrn: str,
    *,
    dry_run: bool,
    newest: int,
    seconds: int,
    grace_seconds: int,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Delete what no kept revision of FQRN needs, and leftovers of failed publishes.

    Tagged revisions are kept. Publishing goes on meanwhile.
    """
    config = read_config(config_path)
    retention = Retention(newest, seconds, grace_seconds)
    shown = _ProgressLine()
    done = collect_garbage(config, fqrn, retention, dry_run=dry_run, tell=shown.update)
    if as_json:
        print_json(_collection(fqrn, done, dry_run=dry_run))
        return DONE
    click.echo(
        f"{fqrn}: {done.revisions_kept} revisions kept,"
        f" {len(done.revisions_given_up)} given up"
    )
    for (kind, why), pile in sorted(done.garbage.items()):
        click.echo(f"  {_shown(pile)} {kind} {why}")
    click.echo(f"  {_shown(done.young)} objects left alone for their grace time")
    click.echo(f"  {_shown(done.kept)} objects in use")
    if done.foreign:
        click.echo(f"  {done.foreign} files that are no objects left alone")
    verdict = "nothing deleted: dry run" if dry_run else f"{_shown(done.deleted)} gone"
    click.echo(f"{fqrn}: {verdict}")
    return DONE


@click.command()
@click.argument("fqrn")
@click.option("--add", "added", metavar="NAME", help="Name the current revision.")
@click.option("--remove", "removed", metavar="NAME", help="Take a name away.")
@click.option("--description", default="", help="Free text for a new tag.")
@json_option
@config_option
@reports_errors
def tag(
    fqrn: str,
    *,
    added: str | None,
    removed: str | None,
    description: str,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """List the named revisions of FQRN, which are never collected; or change them."""
    if added is not None and removed is not None:
        raise click.UsageError("give --add or --remove, not both")
    config = read_config(config_path)
    if added is not None:
        new = add_tag(config, fqrn, added, description)
        click.echo(f"{fqrn}: {new.name} is revision {new.revision}", err=as_json)
    if removed is not None:
        remove_tag(config, fqrn, removed)
        click.echo(f"{fqrn}: {removed} is no tag any more", err=as_json)
    if as_json:
        print_json([_tag(known) for known in open_repository(config, fqrn).tags()])
    elif added is None and removed is None:
        _list_tags(config, fqrn)
    return DONE


@click.command()
@click.argument("fqrn")
@click.argument("target", metavar="TAG|REVISION")
@json_option
@config_option
@reports_errors
def rollback(fqrn: str, target: str, *, as_json: bool, config_path: Path | None) -> int:
    """Publish an old revision of FQRN again, as a new one that clients follow."""
    manifest = roll_back(read_config(config_path), fqrn, target)
    if as_json:
        print_json(
            {
                "repository": fqrn,
                "target": target,
                "revision": manifest.revision,
                "root_catalog": str(manifest.root_catalog),
            }
        )
    else:
        click.echo(f"{fqrn}: revision {manifest.revision} is {target} again")
        click.echo(
            "What was published after it shows as live until it is pushed again, or "
            "asked for with `publish`.",
            err=True,
        )
    return DONE


@click.command(name="resign")
@click.argument("fqrn")
@json_option
@config_option
@reports_errors
def resign_command(fqrn: str, *, as_json: bool, config_path: Path | None) -> int:
    """Sign the whitelist of FQRN anew, which needs its master key."""
    whitelist = resign(read_config(config_path), fqrn)
    expires = _iso(whitelist.expires.timestamp())
    if as_json:
        print_json({"repository": fqrn, "whitelist_expires": expires})
    else:
        click.echo(f"{fqrn}: whitelist holds until {expires}")
    return DONE


class _ProgressLine:
    """One line that counts on a terminal; nothing where nobody looks."""

    def __init__(self) -> None:
        self._shown = 0.0

    def update(self, done: Collection) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown > _REFRESH_SECONDS:
            self._shown = now
            seen = done.kept.objects + done.young.objects
            seen += sum(pile.objects for pile in done.garbage.values())
            counts = f"{seen} objects seen, {done.deleted.objects} deleted"
            click.echo(f"\r{counts} \r", nl=False, err=True)


def _list_tags(config: Config, fqrn: str) -> None:
    for known in open_repository(config, fqrn).tags():
        moment = _iso(known.timestamp)
        line = f"{known.name:30} {known.revision:>8} {moment} {known.description}"
        click.echo(line.rstrip())


def _collection(fqrn: str, done: Collection, *, dry_run: bool) -> dict[str, object]:
    return {
        "repository": fqrn,
        "dry_run": dry_run,
        "revisions_kept": done.revisions_kept,
        "revisions_given_up": [str(root) for root in done.revisions_given_up],
        "garbage": [
            {"kind": kind, "why": why, **pile._asdict()}
            for (kind, why), pile in sorted(done.garbage.items())
        ],
        "young": done.young._asdict(),
        "kept": done.kept._asdict(),
        "foreign": done.foreign,
        "deleted": done.deleted._asdict(),
    }


def _tag(known: Tag) -> dict[str, object]:
    return {
        "name": known.name,
        "revision": known.revision,
        "root_catalog": str(known.root_catalog),
        "published": _iso(known.timestamp),
        "description": known.description,
    }


def _shown(pile: Pile) -> str:
    amount, unit = float(pile.bytes), 0
    while amount >= _UNIT and unit < len(_UNITS) - 1:
        amount /= _UNIT
        unit += 1
    return f"{pile.objects:>9} ({amount:.4g} {_UNITS[unit]})"


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
