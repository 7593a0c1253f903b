"""What a job and an operator's command work with, built once from the configuration.

The one place of the core that introduces the configuration to those who do the work.
"""

import logging
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from workers.config import (
    Config,
    RegistryConfig,
    RepositoryConfig,
    S3Config,
    allowed_hosts,
)
from workers.config.values import storage_bucket, storage_folder
from workers.cvmfs import (
    AutoTags,
    BucketAccess,
    FormatError,
    KeyRing,
    LocalStorage,
    Repository,
    S3Storage,
    Storage,
    StorageFailed,
    parse_public_key,
)
from workers.cvmfs.checking.check import Finding, Tell, check
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.cvmfs.storage.storage import MANIFEST
from workers.errors import PermanentError
from workers.jobqueue import JobQueue
from workers.layer_claims import LayerClaims
from workers.layout.names import is_catalog
from workers.ledger import Ledger
from workers.plan import Publisher
from workers.policy import PolicyFile, Rule, target_repository
from workers.publishers.native import NativePublisher
from workers.queue_server import connect
from workers.ready_queue import ReadyBatches
from workers.registry import RegistryAccess, RegistryClient

log = logging.getLogger(__name__)

_SPOOLS = Path("/var/spool/cvmfs")
"""Where ``cvmfs_server`` keeps what belongs to the repositories of this machine."""
_WHITELIST_SECONDS = 30 * 24 * 3600.0


class NoSuchRepository(PermanentError):
    """A CVMFS repository that the configuration does not have."""


@dataclass(frozen=True, slots=True)
class Front:
    """The records and the queue: what it takes to ask for work and see how it goes."""

    connection: redis.Redis
    ledger: Ledger
    queue: JobQueue

    @classmethod
    def open(cls, config: Config) -> Self:
        """Connect to the Redis of the configuration."""
        connection = connect(config)
        return cls(connection, Ledger(connection), JobQueue(connection))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
    return RegistryClient(accesses, internal_hosts=hosts)


def open_publisher(config: Config, fqrn: str, front: Front) -> Publisher:
    """Return the publisher of one configured repository."""
    queue = ReadyBatches(front.connection, front.ledger, fqrn)
    return NativePublisher(fqrn, lambda: open_repository(config, fqrn), queue)


def open_repository(config: Config, fqrn: str) -> Repository:
    """Open one configured native repository."""
    repository = _configured(config, fqrn)
    return Repository.open(
        fqrn,
        _storage(repository),
        repository.keys,
        ttl=repository.ttl,
        is_mountpoint=is_catalog,
        auto_tags=_auto_tags(repository),
    )


def open_storage(config: Config, fqrn: str) -> Storage:
    """Return where one configured repository lies, whether it is there or not."""
    return _storage(_configured(config, fqrn))


def create_repository(config: Config, fqrn: str) -> Repository:
    """Create one configured native repository, its keys too if there are none.

    Raises:
        RepositoryExists: it is there already.
    """
    repository = _configured(config, fqrn)
    now = int(time.time())
    return Repository.create(
        fqrn,
        _storage(repository),
        KeyRing.load_or_create(fqrn, repository.keys, now=now),
        now=now,
        ttl=repository.ttl,
        is_mountpoint=is_catalog,
    )


def create_missing_repositories(config: Config) -> None:
    """Create the configured repositories that are not there yet.

    Raises:
        StorageFailed: a storage is not fit for a repository.
    """
    for fqrn, repository in config.repositories.items():
        storage = _storage(repository)
        # Whatever is wrong with a bucket is found now, not with the first commit.
        if repository.storage.startswith("s3://"):
            storage.prepare()
        if not storage.exists(MANIFEST):
            create_repository(config, fqrn)
            log.info("repository=%s created", fqrn)


def renew_whitelists(config: Config) -> None:
    """Sign the whitelists that have less than half of their time left anew.

    Only of repositories whose master key is here; what goes wrong is logged, since the
    next try comes long before it matters.
    """
    for fqrn in config.repositories:
        try:
            repository = open_repository(config, fqrn)
            left = repository.whitelist().expires.timestamp() - time.time()
            if left < _WHITELIST_SECONDS / 2:
                repository.renew_whitelist(now=int(time.time()))
                log.info("repository=%s whitelist renewed", fqrn)
        except FormatError as error:
            log.warning("repository=%s whitelist not renewed: %s", fqrn, error)


def check_repository(
    config: Config, fqrn: str, *, contents: bool, tell: Tell
) -> Iterator[Finding]:
    """Yield everything that is wrong with one configured native repository."""
    repository = _configured(config, fqrn)
    key = repository.keys / f"{fqrn}.pub"
    try:
        public_key = parse_public_key(key.read_bytes())
    except OSError as error:
        raise NoSuchRepository(f"{key}: {error.strerror}") from error
    storage = _storage(repository)
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


def _auto_tags(repository: RepositoryConfig) -> AutoTags | None:
    wanted = repository.auto_tags
    if wanted is None:
        return None
    return AutoTags(wanted.keep_seconds, wanted.every_seconds, wanted.most)


def _configured(config: Config, fqrn: str) -> RepositoryConfig:
    repository = config.repositories.get(fqrn)
    if repository is None:
        known = ", ".join(config.repositories) or "none"
        raise NoSuchRepository(
            f"repository {fqrn!r} is not configured; there is {known}"
        )
    return repository


def _storage(repository: RepositoryConfig) -> LocalStorage | S3Storage | StockStorage:
    """Return the storage, behind the stock tools' locks where they have any here.

    Raises:
        StorageFailed: the folder of their locks cannot be looked at.
    """
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
    return RegistryAccess(
        registry.host,
        plain_http=registry.plain_http,
        username=registry.username,
        password=registry.password.reveal() if registry.password else None,
        ca_file=registry.ca_file,
        token_hosts=registry.token_hosts,
    )
