"""``repository export``: an image taken out of a repository."""

from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    FAILED,
    config_option,
    json_option,
    print_json,
    read_config,
    reports_errors,
)
from workers.cvmfs import NotFound
from workers.exporting import ExportFailed, export_directory
from workers.layout.names import image_path
from workers.reference import Reference
from workers.services import open_repository


@click.command()
@click.argument("fqrn")
@click.argument("reference")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["dir"]),
    default="dir",
    help="What to make of it.",
)
@click.option(
    "--to",
    "destination",
    type=click.Path(path_type=Path),
    required=True,
    help="A new directory.",
)
@json_option
@config_option
@reports_errors
def export(
    fqrn: str,
    reference: str,
    *,
    kind: str,
    destination: Path,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Take the root file system of image REFERENCE out of FQRN."""
    snapshot = open_repository(read_config(config_path), fqrn).read()
    link = image_path(Reference.parse(reference))
    try:
        place = snapshot.resolve(link)
    except NotFound as error:
        raise ExportFailed(f"{reference} is not published in {fqrn}") from error
    done = export_directory(snapshot, place, destination)
    losses = dict(done.losses)
    if as_json:
        print_json(
            {
                "format": kind,
                "to": str(destination),
                "entries": done.entries,
                "bytes": done.size,
                "losses": losses,
            }
        )
    else:
        click.echo(f"{destination}: {done.entries} entries, {done.size} bytes")
        for what, count in losses.items():
            click.echo(f"not written: {count} {what}; run it as root", err=True)
    return FAILED if losses else DONE
