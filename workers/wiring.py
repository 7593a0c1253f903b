"""What jobs, commands and the receiver work with, built from the configuration.

The one place that introduces the configuration to those who do the work: connections,
ledger and queue (``Front``), registries, and the publisher of each repository by its
kind (``PUBLISHERS``).
"""

import logging
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import redis

from workers.config import (
    Config,
    RegistryConfig,
    RepositoryConfig,
    S3Config,
    Secret,
    allowed_hosts,
)
from workers.config.values import (
    BadValue,
    password_from_file,
    storage_bucket,
    storage_folder,
)
from workers.cvmfs import (
    AutoTags,
    BucketAccess,
    HeadWentBack,
    InvalidKeys,
    KeyRing,
    LocalStorage,
    Repository,
    RepositoryManifest,
    Revision,
    S3Storage,
    StorageFailed,
)
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.cvmfs.storage.storage import MANIFEST, Storage
from workers.errors import PermanentError
from workers.formats import scope
from workers.formats.catalogs import is_catalog
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect
from workers.jobqueue.layer_claims import LayerClaims
from workers.ledger import KnownHeads, Ledger, LedgerUnavailable
from workers.policy import PolicyFile, Rule, target_repository
from workers.publishing.native import NativePublisher
from workers.publishing.publisher import PublishedTree, Publisher
from workers.publishing.ready_queue import ReadyBatches
from workers.publishing.together import Scope, Together
from workers.registry import Proxies, RegistryAccess, RegistryClient

log = logging.getLogger(__name__)

NATIVE = "native"
_SPOOLS = Path("/var/spool/cvmfs")
"""Where ``cvmfs_server`` keeps what belongs to the repositories of this machine."""


class NoSuchRepository(PermanentError):
    """A CVMFS repository that the configuration does not have."""


class NotNative(PermanentError):
    """A repository that is not ours to maintain."""


@dataclass(frozen=True, slots=True)
class Front:
    """The records and the queue: what it takes to ask for work and see how it goes."""

    connection: redis.Redis
    ledger: Ledger
    queue: JobQueue

    @classmethod
    def open(cls, config: Config, **patience: float) -> Self:
        """Connect to the Redis of the configuration.

        Args:
            config: names it.
            patience: ``patience_seconds`` and ``timeout_seconds`` of ``connect``.
        """
        connection = connect(config, **patience)
        return cls(connection, Ledger(connection), JobQueue(connection))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a job touches outside."""

    config: Config
    front: Front
    policy: PolicyFile
    registry: RegistryClient
    claims: LayerClaims
    publishers: Mapping[str, Publisher]

    @classmethod
    def open(cls, config: Config) -> Self:
        """Connect to what the configuration names; nothing is created."""
        front = Front.open(config)
        return cls(
            config,
            front,
            PolicyFile(config.policy),
            open_registry(config),
            LayerClaims(front.connection),
            {fqrn: open_publisher(config, fqrn, front) for fqrn in config.repositories},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.close()
        self.front.connection.close()

    def publisher(self, rule: Rule) -> tuple[str, Publisher]:
        """Return the name and the publisher of the repository of a rule."""
        fqrn = target_repository(rule, self.publishers)
        return fqrn, self.publishers[fqrn]


def open_registry(config: Config) -> RegistryClient:
    """Return a client for the registries of the configuration."""
    hosts = allowed_hosts(config)
    accesses = {
        host: _access(config.registries.get(host, RegistryConfig(host)))
        for host in hosts
    }
    said = config.proxies
    proxies = Proxies(_revealed(said.https), _revealed(said.http), said.exempt)
    return RegistryClient(accesses, internal_hosts=hosts, proxies=proxies)


def open_publisher(config: Config, fqrn: str, front: Front | None = None) -> Publisher:
    """Return the publisher of one configured repository; it opens it when needed.

    Args:
        config: has the repository.
        fqrn: its name.
        front: through which workers publish together; without it, each for itself.
    """
    return PUBLISHERS[configured(config, fqrn).publisher].open(config, fqrn, front)


def open_published(config: Config, fqrn: str) -> PublishedTree:
    """Return the present revision of one configured repository, for a command.

    Raises:
        FormatError: (here and while it is read) it cannot be read.
    """
    return PUBLISHERS[configured(config, fqrn).publisher].read(config, fqrn)


def _native_publisher(config: Config, fqrn: str, front: Front | None) -> Publisher:
    if front is None:
        return NativePublisher(fqrn, lambda: open_repository(config, fqrn))
    queue = ReadyBatches(front.connection, front.ledger, fqrn)
    heads = KnownHeads(front.connection)
    together = Together(
        queue,
        Scope(scope.objection, scope.state),
        check_head=lambda head: check_head(heads, head),
        note=lambda revision: note_head(heads, fqrn, revision),
    )
    return NativePublisher(fqrn, lambda: open_repository(config, fqrn), together)


def _native_published(config: Config, fqrn: str) -> PublishedTree:
    return open_repository(config, fqrn).read()


class PublisherKind(NamedTuple):
    """How repositories of one kind of publisher are written and read."""

    open: Callable[[Config, str, Front | None], Publisher]
    read: Callable[[Config, str], PublishedTree]


PUBLISHERS: Mapping[str, PublisherKind] = {
    NATIVE: PublisherKind(_native_publisher, _native_published),
}


def configured(config: Config, fqrn: str) -> RepositoryConfig:
    """Return what the configuration says of a repository.

    Raises:
        NoSuchRepository: nothing.
    """
    repository = config.repositories.get(fqrn)
    if repository is None:
        known = ", ".join(config.repositories) or "none"
        raise NoSuchRepository(
            f"repository {fqrn!r} is not configured; there is {known}"
        )
    return repository


def native_repositories(config: Config) -> Sequence[RepositoryConfig]:
    """Return the repositories that we hold storage and keys of."""
    return [each for each in config.repositories.values() if each.publisher == NATIVE]


def open_repository(config: Config, fqrn: str) -> Repository:
    """Open one configured repository that we hold storage and keys of.

    For what is done to a repository of that kind alone. Whoever only reads or publishes
    asks ``open_published`` or ``open_publisher``.

    Raises:
        NotNative: another kind of publisher has it.
        FormatError: it cannot be opened.
    """
    repository = _native(config, fqrn)
    storage = _storage(repository)
    check_keys(repository, storage)
    return Repository.open(
        fqrn,
        storage,
        repository.keys,
        ttl=repository.ttl,
        is_mountpoint=is_catalog,
        auto_tags=_auto_tags(repository),
    )


def check_keys(repository: RepositoryConfig, storage: Storage) -> None:
    """Tell keys that were never made from those that were lost.

    Raises:
        InvalidKeys: there are none, and nothing was ever published there.
    """
    fqrn, keys = repository.fqrn, repository.keys
    if not KeyRing.is_there(fqrn, keys) and not storage.exists(MANIFEST):
        raise InvalidKeys(
            f"its keys are not made yet in {keys}: run `cvmfs-webhook repository init"
            f" {fqrn}`"
        )


def check_head(heads: KnownHeads, head: RepositoryManifest) -> None:
    """Refuse a head that went back.

    Where the ledger cannot be asked, nothing is known; whoever publishes asks it for
    more than this.

    Raises:
        HeadWentBack: the ledger knows a later one.
    """
    try:
        objection = heads.objection(head.fqrn, head.revision, str(head.root_catalog))
    except LedgerUnavailable as error:
        log.debug("repository=%s its head is not compared: %s", head.fqrn, error)
        return
    if objection is not None:
        raise HeadWentBack(objection)


def note_head(heads: KnownHeads, fqrn: str, revision: Revision) -> None:
    """Let the ledger know a head; a later one tells it again, if it cannot be told."""
    try:
        heads.note(fqrn, revision.number, str(revision.root_catalog))
    except LedgerUnavailable as error:
        log.debug("repository=%s its head is not noted: %s", fqrn, error)


def open_storage(config: Config, fqrn: str) -> LocalStorage | S3Storage | StockStorage:
    """Return where one configured repository lies, whether it is there or not.

    Behind the stock tools' locks where they have any here.

    Raises:
        NoSuchRepository: the configuration does not have it.
        NotNative: another kind of publisher has it.
        StorageFailed: the folder of their locks cannot be looked at.
    """
    return _storage(_native(config, fqrn))


def _native(config: Config, fqrn: str) -> RepositoryConfig:
    repository = configured(config, fqrn)
    if repository.publisher != NATIVE:
        raise NotNative(
            f"{fqrn} is published by {repository.publisher}: use its own tools for this"
        )
    return repository


def _auto_tags(repository: RepositoryConfig) -> AutoTags | None:
    wanted = repository.auto_tags
    if wanted is None:
        return None
    return AutoTags(wanted.keep_seconds, wanted.every_seconds, wanted.most)


def _storage(repository: RepositoryConfig) -> LocalStorage | S3Storage | StockStorage:
    storage = _plain_storage(repository)
    spool = repository.spool or _SPOOLS / repository.fqrn
    try:
        is_shared = stat.S_ISDIR(spool.stat().st_mode)
    except FileNotFoundError:
        is_shared = False
    except OSError as error:
        raise StorageFailed(
            f"{spool}: {error.strerror}; run as the repository's owner, or root"
        ) from error
    if is_shared:
        return StockStorage(storage, spool, repository.fqrn)
    if repository.spool is not None:
        raise StorageFailed(
            f"{spool} is no folder: mend `spool` of {repository.fqrn} in the"
            " configuration, or leave it out"
        )
    return storage


def _plain_storage(repository: RepositoryConfig) -> LocalStorage | S3Storage:
    if not repository.storage.startswith("s3://"):
        return LocalStorage(storage_folder(repository.storage))
    s3 = repository.s3 or S3Config()
    bucket, prefix = storage_bucket(repository.storage)
    access = BucketAccess(
        bucket,
        prefix,
        endpoint=s3.endpoint,
        region=s3.region,
        access_key=s3.access_key.reveal() if s3.access_key else None,
        secret_key=s3.secret_key.reveal() if s3.secret_key else None,
        is_path_style=s3.path_style,
    )
    return S3Storage(access)


def _access(registry: RegistryConfig) -> RegistryAccess:
    path = registry.password_file
    renewed = None if path is None else partial(_password, path, registry)
    return RegistryAccess(
        registry.host,
        plain_http=registry.plain_http,
        username=registry.username,
        password=_revealed(registry.password),
        read_password=renewed,
        ca_file=registry.ca_file,
        token_hosts=registry.token_hosts,
        proxy=_revealed(registry.proxy),
    )


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _password(path: Path, registry: RegistryConfig) -> str:
    """Return what the file of a registry's password holds now.

    Passwords of some registries live for hours, and so less than a process.
    """
    try:
        return password_from_file(path).reveal()
    except BadValue as error:
        log.warning(
            "registry=%s its password is that of before: %s", registry.host, error
        )
        return registry.password.reveal() if registry.password else ""
