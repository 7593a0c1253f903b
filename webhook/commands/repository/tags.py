"""``repository tag|rollback|resign``: what keeps a native repository in order."""

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
from webhook.commands.ledger import rebuilt_json, show_rebuilt
from workers.care.repository import (
    add_tag,
    rebuild_ledger,
    remove_tag,
    resign,
    roll_back,
)
from workers.config import Config
from workers.cvmfs import Tag
from workers.documents.quantities import iso_time
from workers.errors import TransientError
from workers.wiring import open_repository


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
    config = read_config(config_path)
    manifest = roll_back(config, fqrn, target)
    rebuilt = problem = None
    try:
        rebuilt = rebuild_ledger(config, fqrn)
    except TransientError as error:
        problem = str(error)
    if as_json:
        print_json(
            {
                "repository": fqrn,
                "target": target,
                "revision": manifest.revision,
                "root_catalog": str(manifest.root_catalog),
                "images": rebuilt_json(rebuilt)["images"] if rebuilt else None,
            }
        )
    else:
        click.echo(f"{fqrn}: revision {manifest.revision} is {target} again")
        if rebuilt is not None:
            show_rebuilt(rebuilt)
    if problem is not None:
        click.echo(
            f"warning: images still show as they were ({problem}): run "
            "`cvmfs-webhook ledger rebuild` when the queue server answers",
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
    expires = iso_time(whitelist.ends)
    if as_json:
        print_json({"repository": fqrn, "whitelist_expires": expires})
    else:
        click.echo(f"{fqrn}: whitelist holds until {expires}")
    return DONE


def _list_tags(config: Config, fqrn: str) -> None:
    for known in open_repository(config, fqrn).tags():
        moment = iso_time(known.timestamp)
        line = f"{known.name:30} {known.revision:>8} {moment} {known.description}"
        click.echo(line.rstrip())


def _tag(known: Tag) -> dict[str, object]:
    return {
        "name": known.name,
        "revision": known.revision,
        "root_catalog": str(known.root_catalog),
        "published": iso_time(known.timestamp),
        "description": known.description,
    }
