"""The one configuration, frozen, built once from a file and the environment.

Nothing here connects, creates or writes. Reading fails with *all* that is wrong, each by
its key path. The contract with users is design section 5.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workers.errors import PermanentError


class ConfigError(PermanentError):
    """Everything that is wrong with a configuration.

    Attributes:
        problems: one line each, ``key.path: what is wrong, and the mend``.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Secret:
    """A text that shows itself only when asked by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text; whoever calls this must not log, store or print it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


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
        kind: which sender reads it, ``dockerhub``, ``distribution`` or ``gitlab``.
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
        ca_file: PEM certificates to trust besides the system's.
        token_hosts: hosts that may be its token server, besides itself.
    """

    host: str
    plain_http: bool = False
    username: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None
    token_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """One CVMFS repository that we publish to.

    Attributes:
        fqrn: fully qualified repository name.
        storage: URL of the storage, ``file:///…``.
        publisher: ``native``.
        keys: folder of its keys.
        ttl: seconds for which clients may keep its manifest.
    """

    fqrn: str
    storage: str
    publisher: str = "native"
    keys: Path = Path("/etc/cvmfs/keys")
    ttl: int = 240


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Who may steer.

    Attributes:
        tokens: any of them logs in; none: nobody can.
    """

    tokens: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a sender may make us do.

    Attributes:
        body_bytes: the largest notification that is read.
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
        queue: where Redis is.
        sources: by name.
        registries: by canonical host.
        repositories: by fully qualified repository name.
        policy: the policy file.
        operator: who may steer.
        workers: how many worker processes ``up`` starts.
        limits: bounds on notifications.
        log_level: a level name of ``logging``, in capitals.
    """

    path: Path | None = None
    state: Path = Path("/var/lib/cvmfs-webhook")
    listen: str = "127.0.0.1:8080"
    public_url: str = "http://127.0.0.1:8080"
    queue: QueueConfig = field(default_factory=QueueConfig)
    sources: Mapping[str, SourceConfig] = field(default_factory=dict)
    registries: Mapping[str, RegistryConfig] = field(default_factory=dict)
    repositories: Mapping[str, RepositoryConfig] = field(default_factory=dict)
    policy: Path = Path("policy.yaml")
    operator: OperatorConfig = field(default_factory=OperatorConfig)
    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    log_level: str = "INFO"


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration.

    Raises:
        ConfigError: with every problem.
    """
    raise NotImplementedError


def allowed_hosts(config: Config) -> frozenset[str]:
    """Return the registries that may have private addresses: the configured ones."""
    named = {source.registry for source in config.sources.values()}
    return frozenset(named | config.registries.keys())
