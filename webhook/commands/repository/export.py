"""``repository export``: an image taken out of a repository."""

import os
from collections.abc import Callable
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
from webhook.commands.progress_line import ProgressLine
from workers.exporting import (
    STANDARD_OUTPUT,
    Export,
    PublishedImage,
    Tell,
    export_directory,
    export_oci,
    export_squashfs,
    export_tar,
    find_image,
    new_file,
    specification,
)
from workers.images.platforms import Platform
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference
from workers.wiring import open_published

_MEGABYTE = 1_000_000


def _specification(
    tree: PublishedTree, image: PublishedImage, to: Path, _tell: Tell
) -> Export:
    lines = list(specification(tree, image))
    with new_file(to) as file:
        file.writelines(line + b"\n" for line in lines)
    return Export(len(lines))


def _of_root(
    write: Callable[[PublishedTree, bytes, Path, Tell], Export],
) -> Callable[[PublishedTree, PublishedImage, Path, Tell], Export]:
    return lambda tree, image, to, tell: write(tree, image.root(tree), to, tell)


_FORMATS = {
    "dir": _of_root(export_directory),
    "tar": _of_root(export_tar),
    "sqfs": _of_root(export_squashfs),
    "oci": export_oci,
    "shrinkwrap": _specification,
}


@click.command()
@click.argument("fqrn")
@click.argument("reference")
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(_FORMATS)),
    default="dir",
    show_default=True,
    help="What to make of it.",
)
@click.option(
    "--to",
    "destination",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    help="A new directory (dir, oci) or file; - writes tar and shrinkwrap to stdout.",
)
@click.option(
    "--platform",
    help="Such as linux/arm64, of an image that is published for several.",
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
    platform: str | None,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Take image REFERENCE, by tag or digest, out of FQRN.

    \b
    dir         its root file system; as root, for owners and devices
    tar         the same, with all owners and devices; needs no root
    sqfs        the same as a squashfs file, by mksquashfs
    oci         an OCI layout, for `skopeo copy oci:DEST:TAG …`
    shrinkwrap  what cvmfs_shrinkwrap has to copy of FQRN for it (its -t)

    Root file systems come with what apptainer needs in them. An OCI layout is the image
    itself, layer by layer; as the layers are packed anew, their digests and the
    image's are not the registry's. It needs `layers` in the rule's formats.
    """  # noqa: D301 - click's mark for lines that stay as they are
    is_piped = destination == STANDARD_OUTPUT
    if is_piped and kind not in {"tar", "shrinkwrap"}:
        raise click.UsageError(f"{kind} cannot go to stdout: give --to a name")
    if is_piped and as_json:
        raise click.UsageError("--json would be mixed with the export: give --to FILE")
    wanted = Reference.parse(reference)
    tree = open_published(read_config(config_path), fqrn)
    image = find_image(tree, wanted, Platform.parse(platform) if platform else None)
    line = ProgressLine()

    def tell(done: Export) -> None:
        line.show(f"{done.entries} entries, {done.size // _MEGABYTE} MB")

    try:
        done = _FORMATS[kind](tree, image, destination, tell)
    finally:
        line.clear()
    if as_json:
        print_json(
            {
                "format": kind,
                "to": str(destination),
                "entries": done.entries,
                "bytes": done.size,
                "losses": dict(done.losses),
                "first_losses": done.first_losses,
            }
        )
    else:
        what = f"{done.entries} entries, {done.size} bytes"
        what = f"{done.entries} lines" if kind == "shrinkwrap" else what
        click.echo(f"{destination}: {what}", err=is_piped)
        for loss, count in done.losses.items():
            first = done.first_losses.get(loss)
            example = "" if first is None else f", the first {first}"
            click.echo(f"not written: {count} {loss}{example}{_mend(kind)}", err=True)
    # What only root may write is there for root; what a format lacks is for nobody.
    return FAILED if done.losses and kind == "dir" else DONE


def _mend(kind: str) -> str:
    """Return what helps where something could not be written."""
    if kind != "dir":
        more = "; `--format tar` can" if kind == "sqfs" else ""
        return f": {kind} cannot hold them{more}"
    root = "" if os.geteuid() == 0 else "run it as root, or "
    return f": {root}take another file system or `--format tar`, which holds them"
