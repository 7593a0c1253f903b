"""``repository prune``: what nobody uses goes out of the tree; ``gc`` deletes it."""

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
from workers.care.repository import prune_repository
from workers.published.unused import Pruning


@click.command()
@click.argument("fqrn")
@click.option("--dry-run", is_flag=True, help="Show what would go, change nothing.")
@click.option(
    "--grace",
    "grace_seconds",
    type=Duration(),
    default="30d",
    show_default=True,
    help="Keep what was live within that time, to be restored.",
)
@json_option
@config_option
@reports_errors
def prune(
    fqrn: str,
    *,
    dry_run: bool,
    grace_seconds: int,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Take layers and file systems that no name of FQRN uses out of it.

    One new revision has them no more; `repository gc` then deletes their objects when
    no kept revision has them. Publishing goes on meanwhile.
    """
    found, revision = prune_repository(
        read_config(config_path), fqrn, grace_seconds=grace_seconds, dry_run=dry_run
    )
    if as_json:
        print_json(pruned_json(fqrn, found, revision, dry_run=dry_run))
        return DONE
    for path in (*found.unused, *found.forgotten):
        click.echo(f"  {path.decode(errors='backslashreplace')}")
    click.echo(pruned_line(fqrn, found, revision, dry_run=dry_run))
    return DONE


def pruned_line(fqrn: str, found: Pruning, revision: int, *, dry_run: bool) -> str:
    """Return what became of a repository, in one line."""
    verb = "would go" if dry_run else "went"
    return (
        f"{fqrn}: {len(found.unused)} trees and {len(found.forgotten)} memories of"
        f" former images {verb}, {found.used} trees are in use,"
        f" {found.foreign} are not ours; revision {revision}"
    )


def pruned_json(
    fqrn: str, found: Pruning, revision: int, *, dry_run: bool
) -> dict[str, object]:
    """Return the same for a program, path by path."""
    return {
        "repository": fqrn,
        "dry_run": dry_run,
        "revision": revision,
        "unused": [path.decode(errors="backslashreplace") for path in found.unused],
        "forgotten": [
            path.decode(errors="backslashreplace") for path in found.forgotten
        ],
        "used": found.used,
        "foreign": found.foreign,
    }
