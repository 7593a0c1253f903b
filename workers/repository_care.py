"""What an operator does to a configured native repository, besides publishing to it."""

import time
from collections.abc import Callable

from workers import cvmfs
from workers.config import Config
from workers.cvmfs import (
    Collection,
    LocalStorage,
    RepositoryManifest,
    Retention,
    Tag,
    Whitelist,
)
from workers.errors import PermanentError
from workers.services import open_repository


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
        NotCollectable: it does not lie in a directory.
    """
    opened = open_repository(config, fqrn)
    if not isinstance(opened.storage, LocalStorage):
        raise NotCollectable(f"{fqrn}: garbage is collected in directories only")
    return cvmfs.collect_garbage(
        fqrn,
        opened.storage,
        opened.keys,
        now=_now(),
        retention=retention,
        dry_run=dry_run,
        tell=tell,
    )


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


def resign(config: Config, fqrn: str) -> Whitelist:
    """Sign the whitelist for another thirty days.

    Raises:
        InvalidKeys: the master key is not here.
    """
    return open_repository(config, fqrn).renew_whitelist(now=_now())


def _now() -> int:
    return int(time.time())
