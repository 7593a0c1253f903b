"""What an operator does to a configured native repository, besides publishing to it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from workers import cvmfs
from workers.care.heads import (
    accept_head,
    being_made,
    check_is_new,
    current_head,
    note_made,
)
from workers.care.reserve import is_hardly_any_room, released_reserve
from workers.config import Config, RepositoryConfig
from workers.cvmfs import (
    CollectableStorage,
    Collection,
    InvalidKeys,
    KeyRing,
    Repository,
    RepositoryManifest,
    Retention,
    StorageFailed,
    Tag,
    Whitelist,
    parse_public_key,
)
from workers.cvmfs.checking.check import Finding, Tell, check
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.cvmfs.storage.storage import MANIFEST
from workers.errors import PermanentError
from workers.formats.catalogs import is_catalog
from workers.ledger import Change, Rebuilder
from workers.published.images import published_images
from workers.published.unused import Pruning, find_unused, prune
from workers.wiring import (
    Front,
    check_keys,
    configured,
    native_repositories,
    open_published,
    open_publisher,
    open_repository,
    open_storage,
)

log = logging.getLogger(__name__)

_REST_SECONDS = 0.6
"""Who waits for a lock looks at it every half a second, or more often."""


class NotCollectable(PermanentError):
    """A repository whose storage cannot be listed."""


def create_repository(
    config: Config, fqrn: str, *, is_again: bool = False
) -> Repository:
    """Create one configured native repository, its keys too if there are none.

    Args:
        config: has the repository.
        fqrn: its name.
        is_again: whether the operator knows that there was one.

    Raises:
        RepositoryExists: it is there already.
        StorageIsEmpty: it was there, as keys or ledger know.
    """
    repository = configured(config, fqrn)
    storage = open_storage(config, fqrn)
    if not is_again:
        check_is_new(config, fqrn)
    now = int(time.time())
    with being_made(repository):
        return Repository.create(
            fqrn,
            storage,
            KeyRing.load_or_create(fqrn, repository.keys, now=now),
            now=now,
            ttl=repository.ttl,
            is_mountpoint=is_catalog,
        )


def create_missing_repositories(config: Config) -> None:
    """Create the configured native repositories that are not there yet.

    Raises:
        StorageFailed: a storage is not fit for a repository.
        StorageIsEmpty: a repository was there, as keys or ledger know.
    """
    for repository in native_repositories(config):
        try:
            _create_if_missing(config, repository)
        except StorageFailed as error:
            raise StorageFailed(f"{repository.fqrn}: {error}") from error


def _create_if_missing(config: Config, repository: RepositoryConfig) -> None:
    fqrn = repository.fqrn
    storage = open_storage(config, fqrn)
    # Whatever is wrong with a bucket is found now, not with the first commit.
    if repository.storage.startswith("s3://"):
        storage.prepare()
    if storage.exists(MANIFEST):
        note_made(repository)
    else:
        create_repository(config, fqrn)
        log.info("repository=%s created", fqrn)


def check_repository(
    config: Config, fqrn: str, *, contents: bool, tell: Tell
) -> Iterator[Finding]:
    """Yield everything that is wrong with one configured native repository."""
    storage = open_storage(config, fqrn)
    repository = configured(config, fqrn)
    check_keys(repository, storage)
    key = repository.keys / f"{fqrn}.pub"
    try:
        public_key = parse_public_key(key.read_bytes())
    except OSError as error:
        raise InvalidKeys(f"{key}: {error.strerror}") from error
    now = int(time.time())
    return check(
        storage,
        fqrn,
        [public_key],
        now=now,
        contents=contents,
        reflog_checksum=(
            storage.reflog_checksum() if isinstance(storage, StockStorage) else None
        ),
        tell=tell,
    )


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
        HeadWentBack: its head is older than what the ledger knows.
    """
    opened = open_repository(config, fqrn)
    storage = opened.storage
    if not isinstance(storage, CollectableStorage):
        raise NotCollectable(f"{fqrn}: {storage!r} cannot be listed")
    # Seen from an older head, what was published since is garbage.
    with current_head(config, fqrn), released_reserve(configured(config, fqrn)):
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


def is_full(config: Config, fqrn: str) -> bool:
    """Tell whether there is hardly any room to write into a repository."""
    return is_hardly_any_room(configured(config, fqrn))


def prune_repository(
    config: Config, fqrn: str, *, grace_seconds: int, dry_run: bool
) -> tuple[Pruning, int]:
    """Take out what no name leads to, and what was live before the grace time.

    Returns:
        What it is, and the revision without it; the present one for a dry run.

    Raises:
        WorkerError: nothing was taken out.
    """
    publisher = open_publisher(config, fqrn)
    since = time.time() - grace_seconds
    if dry_run:
        found = find_unused(publisher.published(), fqrn, since=since)
        return found, found.revision
    with current_head(config, fqrn):
        return prune(publisher, fqrn, since=since)


def add_tag(config: Config, fqrn: str, name: str, description: str) -> Tag:
    """Name the current revision."""
    opened = open_repository(config, fqrn)
    with current_head(config, fqrn):
        return cvmfs.add_tag(
            fqrn, opened.storage, opened.keys, name, now=_now(), description=description
        )


def remove_tag(config: Config, fqrn: str, name: str) -> None:
    """Take a name away."""
    opened = open_repository(config, fqrn)
    with current_head(config, fqrn):
        cvmfs.remove_tag(fqrn, opened.storage, opened.keys, name, now=_now())


def roll_back(config: Config, fqrn: str, target: str) -> RepositoryManifest:
    """Publish an old revision again; ``target`` is a tag or its number."""
    opened = open_repository(config, fqrn)
    with current_head(config, fqrn):
        return cvmfs.roll_back(fqrn, opened.storage, opened.keys, target, now=_now())


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of the ledger's records of one repository.

    Attributes:
        fqrn: the repository.
        revision: of it, that was read.
        changes: by reference.
        unreadable: paths in it that look like images and are not live.
        mended: references whose records could not be read.
    """

    fqrn: str
    revision: int
    changes: Mapping[str, Change]
    unreadable: tuple[str, ...]
    mended: tuple[str, ...]


def rebuild_ledger(
    config: Config, fqrn: str, *, is_older_accepted: bool = False
) -> Rebuilt:
    """Let the ledger say of one repository what that says itself.

    Args:
        config: has the repository.
        fqrn: its name.
        is_older_accepted: whether the operator knows that its head went back, if it
            did: then what the ledger knows of later revisions counts no more.

    Raises:
        HeadWentBack: its head is older than what the ledger knows.
        LedgerUnavailable: there is no ledger to be reached.
        FormatError: the repository cannot be read.
    """
    tree = open_published(config, fqrn)
    revision = tree.revision
    found = published_images(tree)
    with ExitStack() as stack:
        if not is_older_accepted:
            stack.enter_context(current_head(config, fqrn))
        front = stack.enter_context(Front.open(config))
        rebuilder = Rebuilder(front.connection)
        mended = rebuilder.mend()
        changes = dict(
            rebuilder.rebuild(fqrn, revision, found.images, is_final=is_older_accepted)
        )
    if is_older_accepted:
        accept_head(config, fqrn)
    return Rebuilt(fqrn, revision, changes, found.unreadable, tuple(mended))


def resign(config: Config, fqrn: str) -> Whitelist:
    """Sign the whitelist for another thirty days.

    Raises:
        InvalidKeys: the master key is not here.
    """
    return open_repository(config, fqrn).renew_whitelist(now=_now())


def _now() -> int:
    return int(time.time())
