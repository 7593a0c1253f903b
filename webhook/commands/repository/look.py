"""``repository …``: the native repository's tools, and looks inside."""

import os
import posixpath
import stat
import sys
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    FAILED,
    config_option,
    confirm_name,
    json_option,
    local_time,
    name_option,
    print_json,
    read_config,
    reports_errors,
)
from webhook.commands.progress_line import ProgressLine
from workers.care.repository import (
    check_repository,
    create_repository,
    rebuild_ledger,
)
from workers.config import Config
from workers.cvmfs import Directory, Dirent, FormatError, NotFound
from workers.cvmfs.checking.check import CheckProgress
from workers.cvmfs.storage.deletion_mark import last_collection
from workers.cvmfs.storage.storage import MANIFEST
from workers.documents.quantities import iso_time
from workers.errors import TransientError
from workers.publishing.publisher import PublishedTree
from workers.wiring import open_published, open_repository, open_storage


@click.group()
def repository() -> None:
    """Look inside a native CVMFS repository, take out, and verify."""


@repository.command()
@click.argument("fqrn")
@click.option(
    "--again",
    "is_again",
    is_flag=True,
    help="Also where keys or ledger know that there was one; asks for its name.",
)
@name_option
@config_option
@reports_errors
def init(
    fqrn: str, *, is_again: bool, name: str | None, config_path: Path | None
) -> int:
    """Create the repository FQRN of the configuration, with fresh keys.

    Keys that are there are used. Where they or the ledger know that there was a
    repository, its storage may be the wrong one, so that takes --again.
    """
    config = read_config(config_path)
    # What is there is not begun anew, whatever is said.
    is_again = is_again and not open_storage(config, fqrn).exists(MANIFEST)
    if is_again:
        confirm_name(
            fqrn, name, f"{fqrn}: what was published there is not there any more"
        )
    made = create_repository(config, fqrn, is_again=is_again)
    if is_again:
        try:
            rebuild_ledger(config, fqrn, is_older_accepted=True)
        except TransientError as error:
            click.echo(
                f"warning: the ledger was not told ({error}): run `cvmfs-webhook ledger"
                f" rebuild {fqrn}` when the queue server answers",
                err=True,
            )
    click.echo(f"{fqrn}: revision {made.head().revision}")
    click.echo(f"clients need {config.repositories[fqrn].keys / fqrn}.pub")
    return DONE


@repository.command()
@click.argument("fqrn")
@json_option
@config_option
@reports_errors
def info(fqrn: str, *, as_json: bool, config_path: Path | None) -> int:
    """Show the revision of FQRN and what it holds."""
    opened = open_repository(read_config(config_path), fqrn)
    head = opened.head()
    totals = opened.read().root_catalog.statistics.total
    whitelist = opened.whitelist()
    facts: dict[str, object] = {
        "repository": fqrn,
        "revision": head.revision,
        "root_catalog": str(head.root_catalog),
        "published": iso_time(head.timestamp),
        "tags": len(opened.tags()),
        "last_gc": last_collection(opened.storage) or "never",
        "ttl": head.ttl,
        "whitelist_expires": iso_time(whitelist.ends),
        "files": totals.regular,
        "directories": totals.dir,
        "symlinks": totals.symlink,
        "special_files": totals.special,
        "nested_catalogs": totals.nested,
        "bytes": totals.file_size,
    }
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            click.echo(f"{name.replace('_', ' ') + ':':20}{value}")
    return DONE


@repository.command()
@click.argument("fqrn")
@click.option(
    "--quick", is_flag=True, help="See only that objects are there, do not read them."
)
@json_option
@config_option
@reports_errors
def check(fqrn: str, *, quick: bool, as_json: bool, config_path: Path | None) -> int:
    """Find everything that is wrong with FQRN; read-only."""
    config = read_config(config_path)
    line, done, of_all = ProgressLine(), CheckProgress(), _catalogs_in_all(config, fqrn)

    def tell(progress: CheckProgress) -> None:
        nonlocal done
        done = progress
        line.show(f"{done.catalogs}{of_all} catalogs, {done.objects} objects")

    findings = []
    for finding in check_repository(config, fqrn, contents=not quick, tell=tell):
        findings.append(finding)
        if not as_json:
            line.clear()
            click.echo(str(finding))
    line.clear()
    if as_json:
        print_json(
            {
                "repository": fqrn,
                "catalogs": done.catalogs,
                "entries": done.entries,
                "objects": done.objects,
                "findings": [
                    {"where": finding.where, "what": finding.what}
                    for finding in findings
                ],
            }
        )
    else:
        verdict = f"{len(findings)} problems" if findings else "no problems"
        click.echo(
            f"{fqrn}: {verdict} in {done.catalogs} catalogs, {done.entries} entries "
            f"and {done.objects} objects"
        )
    return FAILED if findings else DONE


def _catalogs_in_all(config: Config, fqrn: str) -> str:
    """Return `` of N`` by the root catalog's word; "" where it cannot be read."""
    try:
        opened = open_repository(config, fqrn)
        totals = opened.read().root_catalog.statistics.total
    except (FormatError, OSError):
        return ""  # the check says why
    return f" of {totals.nested + 1}"


@repository.command()
@click.argument("fqrn")
@click.argument("path", default="/")
@json_option
@config_option
@reports_errors
def ls(fqrn: str, path: str, *, as_json: bool, config_path: Path | None) -> int:
    """List PATH in FQRN, as `ls -l` would on a mount."""
    snapshot = open_published(read_config(config_path), fqrn)
    place = _resolve(snapshot, fqrn, path)
    dirent = snapshot.lookup(place)
    if dirent is not None and not stat.S_ISDIR(dirent.mode):
        entries: Directory = {place.rpartition(b"/")[2]: dirent}
    else:
        entries = snapshot.listdir(place)
    if as_json:
        print_json([_entry(name, entry) for name, entry in entries.items()])
        return DONE
    for name, entry in entries.items():
        shown = name.decode(errors="backslashreplace")
        if entry.target:
            shown += f" -> {entry.target.decode(errors='backslashreplace')}"
        size = entry.content.size if entry.content else 0
        moment = local_time(entry.mtime)
        click.echo(
            f"{stat.filemode(entry.mode)} {entry.uid:>5} {entry.gid:>5} "
            f"{size:>12} {moment} {shown}"
        )
    return DONE


@repository.command()
@click.argument("fqrn")
@click.argument("path")
@config_option
@reports_errors
def cat(fqrn: str, path: str, *, config_path: Path | None) -> int:
    """Print the file PATH in FQRN, verified while it is read."""
    snapshot = open_published(read_config(config_path), fqrn)
    dirent = snapshot.lookup(_resolve(snapshot, fqrn, path))
    if dirent is None or dirent.content is None:
        raise NotFound(f"{path} is no regular file in {fqrn}")
    for block in snapshot.pieces(dirent):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    return DONE


def _resolve(snapshot: PublishedTree, fqrn: str, path: str) -> bytes:
    """Return a path as the repository has it.

    It may be written as on a mount, ``/cvmfs/<fqrn>/…``.

    Raises:
        NotFound: it is another repository's, or there is nothing.
    """
    raw = posixpath.normpath(b"/" + os.fsencode(path).lstrip(b"/"))
    match raw.split(b"/", 3)[1:]:
        case [b"cvmfs", name, *rest] if name == fqrn.encode():
            raw = b"/" + b"".join(rest)
        case [b"cvmfs", *_] if snapshot.lookup(b"/cvmfs") is None:
            raise NotFound(f"{path} is no path of {fqrn}: give it from the root there")
        case _:
            pass
    return snapshot.resolve(raw) if raw != b"/" else b""


def _entry(name: bytes, entry: Dirent) -> dict[str, object]:
    return {
        "name": name.decode(errors="backslashreplace"),
        "mode": stat.filemode(entry.mode),
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.content.size if entry.content else 0,
        "mtime": entry.mtime,
        "target": entry.target.decode(errors="backslashreplace") or None,
    }
