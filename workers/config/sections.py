"""What a configuration comes to: frozen values, whose defaults are the documented ones.

How they are read from a file is in ``reading.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workers.config.values import Network, Secret
from workers.reference import ReferenceTemplate


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """Where Redis is.

    Attributes:
        url: ``redis://…``, which may carry a password; None: embedded in ``state``.
        durability: ``trusted`` when the operator answers for it that Redis keeps data.
    """

    url: Secret | None = None
    durability: Literal["strict", "trusted"] = "strict"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One sender of notifications, at the route ``/hooks/<name>``.

    Attributes:
        name: the route.
        kind: which sender reads it; see ``source_kinds.py``.
        secrets: at least one; two while one is being replaced by the other.
        registry: canonical host of the only registry that it may speak of.
        enabled: a disabled route answers like one that does not exist.
    """

    name: str
    kind: str
    secrets: tuple[Secret, ...]
    registry: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How to talk to one registry.

    Attributes:
        host: canonical host[:port].
        plain_http: no TLS.
        username: with ``password``, what we log in as.
        password: see ``username``.
        password_file: where the password comes from, and its successors will.
        ca_file: PEM certificates to trust besides the system's.
        token_hosts: hosts that may be its token server, besides itself.
        proxy: towards it; empty: none; None: as the environment says.
    """

    host: str
    plain_http: bool = False
    username: str | None = None
    password: Secret | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    token_hosts: tuple[str, ...] = ()
    proxy: Secret | None = None


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """HTTP proxies towards registries, as the environment names them.

    Attributes:
        https: towards those with TLS.
        http: towards others.
        exempt: what is reached without.
    """

    https: Secret | None = None
    http: Secret | None = None
    exempt: str = ""


@dataclass(frozen=True, slots=True)
class S3Config:
    """How to reach the bucket of a storage ``s3://…``.

    Attributes:
        endpoint: URL of the service; None: that of AWS.
        region: which signatures name.
        access_key: with ``secret_key``, whom we are; None: what the environment says.
        secret_key: see ``access_key``.
        path_style: the bucket is part of the path, not of the host name.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: Secret | None = None
    secret_key: Secret | None = None
    path_style: bool = True


@dataclass(frozen=True, slots=True)
class AutoTagsConfig:
    """Which revisions get a tag by themselves, named after their time.

    Attributes:
        keep_seconds: after which it goes.
        every_seconds: the least time between two of them.
        most: of so many, the oldest go.
    """

    keep_seconds: int = 30 * 24 * 3600
    every_seconds: int = 3600
    most: int = 1000


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """When what nobody uses is deleted, and what is not yet.

    Attributes:
        every_seconds: from one time to the next.
        restorable_seconds: for which what is live no more can be restored.
        keep_seconds: for which a revision stays that is current no more.
    """

    every_seconds: int
    restorable_seconds: int = 30 * 24 * 3600
    keep_seconds: int = 3 * 24 * 3600


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """One CVMFS repository that we publish to.

    Attributes:
        fqrn: fully qualified repository name.
        storage: URL of the storage, ``file:///…`` or ``s3://…``; empty only where
            another than us holds it.
        publisher: how it is written, a key of ``wiring.PUBLISHERS``.
        keys: folder of its keys.
        ttl: seconds for which clients may keep its manifest.
        s3: how to reach the storage where it is a bucket.
        auto_tags: of its revisions; None: only people set tags.
        collect: when garbage is deleted; None: only by command.
        spool: the stock tools' folder for it; None: ``/var/spool/cvmfs/<fqrn>`` where
            that is a folder.
        thin: what its thin images are called; None: none are made.
    """

    fqrn: str
    storage: str = ""
    publisher: str = "native"
    keys: Path = Path("/etc/cvmfs/keys")
    ttl: int = 240
    s3: S3Config | None = None
    auto_tags: AutoTagsConfig | None = None
    collect: CollectConfig | None = None
    spool: Path | None = None
    thin: ReferenceTemplate | None = None


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Who may steer.

    Attributes:
        tokens: any of them logs in; none: nobody can.
    """

    tokens: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """Who runs the repositories that are served here, for stratum 1 operators to read.

    Attributes:
        administrator: a person or a team.
        email: where to reach them.
        organisation: whose they are.
    """

    administrator: str = ""
    email: str = ""
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a sender may make us do.

    Attributes:
        body_bytes: the largest notification that is read; where its sender is known to
            send larger ones, the most that is kept of one.
        json_depth: the deepest nesting of a notification.
        events: the most events in one notification.
    """

    body_bytes: int = 1_048_576
    json_depth: int = 32
    events: int = 100


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the operator decides.

    Attributes:
        path: the file that it came from.
        state: folder that is ours to write into.
        listen: ``host:port`` of the receiver.
        public_url: how senders reach us, without a trailing slash.
        trusted_proxies: networks of those whose word on who asks counts.
        keep_alive_seconds: for which a connection stays open that nobody uses.
        queue: where Redis is.
        sources: by name.
        registries: by canonical host.
        proxies: of the environment.
        repositories: by fully qualified repository name.
        policy: the policy file.
        operator: who may steer.
        site: who runs this.
        workers: how many worker processes ``up`` starts.
        worker_memory_mib: memory that the process of one job may take.
        disk_floor: bytes of a disk that stay free; None: the usual (``disk_space.py``).
        limits: bounds on notifications.
        log_level: a level name of ``logging``, in capitals.
    """

    path: Path | None = None
    state: Path = Path("/var/lib/cvmfs-webhook")
    listen: str = "127.0.0.1:8080"
    public_url: str = "http://127.0.0.1:8080"
    trusted_proxies: tuple[Network, ...] = ()
    keep_alive_seconds: int = 75
    queue: QueueConfig = field(default_factory=QueueConfig)
    sources: Mapping[str, SourceConfig] = field(default_factory=dict)
    registries: Mapping[str, RegistryConfig] = field(default_factory=dict)
    proxies: ProxyConfig = field(default_factory=ProxyConfig)
    repositories: Mapping[str, RepositoryConfig] = field(default_factory=dict)
    policy: Path = Path("policy.yaml")
    operator: OperatorConfig = field(default_factory=OperatorConfig)
    site: SiteConfig = field(default_factory=SiteConfig)
    workers: int = 2
    worker_memory_mib: int = 512
    disk_floor: int | None = None
    limits: Limits = field(default_factory=Limits)
    log_level: str = "INFO"
