"""What an operator does to a configured native repository, besides publishing to it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workers import cvmfs
from workers.config import Config
from workers.cvmfs import (
    CollectableStorage,
    Collection,
    RepositoryManifest,
    Retention,
    Tag,
    Whitelist,
)
from workers.errors import PermanentError
from workers.ledger import Change, Rebuilder
from workers.pruning import Pruning, find_unused, prune
from workers.published import published_images
from workers.services import Front, open_repository

_REST_SECONDS = 0.6
"""Who waits for a lock looks at it every half a second, or more often."""


class NotCollectable(PermanentError):
    """A repository whose storage cannot be listed."""


def collect_garbage(
    config: Config,
    fqrn: str,
    retention: Retention,
    *,
    dry_run: bool,
    tell: Callable[[Collection], None],
) -> Collection:
    """Delete what no kept revision has a use for; see ``cvmfs.collect_garbage``.

    Raises:
        NotCollectable: its storage cannot be listed.
    """
    opened = open_repository(config, fqrn)
    storage = opened.storage
    if not isinstance(storage, CollectableStorage):
        raise NotCollectable(f"{fqrn}: {storage!r} cannot be listed")
    return cvmfs.collect_garbage(
        fqrn,
        storage,
        opened.keys,
        now=_now(),
        stored_now=storage.clock(),
        retention=retention,
        dry_run=dry_run,
        tell=tell,
        rest=lambda: time.sleep(_REST_SECONDS),
    )


def prune_repository(
    config: Config, fqrn: str, *, grace_seconds: int, dry_run: bool
) -> tuple[Pruning, int]:
    """Take out what no name leads to, and what was live before the grace time.

    Returns:
        What it is, and the revision without it; the present one for a dry run.

    Raises:
        WorkerError, FormatError: nothing was taken out.
    """
    repository = open_repository(config, fqrn)
    since = time.time() - grace_seconds
    if dry_run:
        found = find_unused(repository.read(), fqrn, since=since)
        return found, found.revision
    return prune(repository, fqrn, since=since)


def add_tag(config: Config, fqrn: str, name: str, description: str) -> Tag:
    """Name the current revision."""
    opened = open_repository(config, fqrn)
    return cvmfs.add_tag(
        fqrn, opened.storage, opened.keys, name, now=_now(), description=description
    )


def remove_tag(config: Config, fqrn: str, name: str) -> None:
    """Take a name away."""
    opened = open_repository(config, fqrn)
    cvmfs.remove_tag(fqrn, opened.storage, opened.keys, name, now=_now())


def roll_back(config: Config, fqrn: str, target: str) -> RepositoryManifest:
    """Publish an old revision again; ``target`` is a tag or its number."""
    opened = open_repository(config, fqrn)
    return cvmfs.roll_back(fqrn, opened.storage, opened.keys, target, now=_now())


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of the ledger's records of one repository.

    Attributes:
        fqrn: the repository.
        revision: of it, that was read.
        changes: by reference.
        unreadable: paths in it that look like images and are not live.
    """

    fqrn: str
    revision: int
    changes: Mapping[str, Change]
    unreadable: tuple[str, ...]


def rebuild_ledger(config: Config, fqrn: str) -> Rebuilt:
    """Let the ledger say of one repository what that says itself.

    Raises:
        LedgerUnavailable: there is no ledger to be reached.
        FormatError: the repository cannot be read.
    """
    snapshot = open_repository(config, fqrn).read()
    revision = snapshot.revision
    found = published_images(snapshot)
    with Front.open(config) as front:
        rebuilder = Rebuilder(front.connection)
        changes = dict(rebuilder.rebuild(fqrn, revision, found.images))
    return Rebuilt(fqrn, revision, changes, found.unreadable)


def resign(config: Config, fqrn: str) -> Whitelist:
    """Sign the whitelist for another thirty days.

    Raises:
        InvalidKeys: the master key is not here.
    """
    return open_repository(config, fqrn).renew_whitelist(now=_now())


def _now() -> int:
    return int(time.time())
