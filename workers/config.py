"""The one configuration, frozen, built once from a file and the environment.

Nothing here connects, creates or writes. Reading fails with *all* that is wrong, each
by its key path. The contract with users is design section 5.2; the keys, their defaults
and meanings stand in ``config.schema.json``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from workers import config_values
from workers.config_document import (
    ConfigDocument,
    ConfigError,
    Setting,
    read_document,
    settings,
)
from workers.config_values import Secret
from workers.errors import PermanentError
from workers.quantities import parse_duration
from workers.reference import DOCKER_HUB, parse_registry
from workers.reference_template import ReferenceTemplate
from workers.schema_check import Problem
from workers.yaml_document import KeyPath

__all__ = [
    "AutoTagsConfig",
    "Config",
    "ConfigError",
    "Limits",
    "OperatorConfig",
    "QueueConfig",
    "RegistryConfig",
    "RepositoryConfig",
    "S3Config",
    "Secret",
    "Setting",
    "SiteConfig",
    "SourceConfig",
    "allowed_hosts",
    "load_config",
    "settings",
]

T = TypeVar("T")


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
class RepositoryConfig:
    """One CVMFS repository that we publish to.

    Attributes:
        fqrn: fully qualified repository name.
        storage: URL of the storage, ``file:///…`` or ``s3://…``.
        publisher: ``native``.
        keys: folder of its keys.
        ttl: seconds for which clients may keep its manifest.
        s3: how to reach the storage where it is a bucket.
        auto_tags: of its revisions; None: only people set tags.
        spool: the stock tools' folder for it; None: ``/var/spool/cvmfs/<fqrn>`` where
            that is a folder.
        thin: what its thin images are called; None: none are made.
    """

    fqrn: str
    storage: str
    publisher: str = "native"
    keys: Path = Path("/etc/cvmfs/keys")
    ttl: int = 240
    s3: S3Config | None = None
    auto_tags: AutoTagsConfig | None = None
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
        site: who runs this.
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
    site: SiteConfig = field(default_factory=SiteConfig)
    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    log_level: str = "INFO"


def allowed_hosts(config: Config) -> frozenset[str]:
    """Return the registries that may have private addresses: the configured ones."""
    named = {source.registry for source in config.sources.values()}
    return frozenset(named | config.registries.keys())


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration.

    Relative paths in it begin at its own folder.

    Raises:
        ConfigError: with every problem.
    """
    document = read_document(path, environ)
    config = _Builder(path, document).config()
    if document.problems:
        raise document.error()
    return config


class _Builder:
    """Makes values of what the schema accepts, and notes what is wrong with them.

    What is already known to be wrong is left out, so that nothing is said twice.
    """

    def __init__(self, path: Path, document: ConfigDocument) -> None:
        # A process may go elsewhere later, a name beside the file must not.
        self._path = path.absolute()
        self._folder = self._path.parent
        self._raw = document.values
        self._problems = document.problems
        self._known = [problem.path for problem in document.problems]

    def config(self) -> Config:
        default = Config()
        listen = self._value(("listen",), self._raw, config_values.listen_address)
        listen = listen or default.listen
        url = self._value(("public_url",), self._raw, config_values.public_url)
        operator = self._section("operator")
        return Config(
            path=self._path,
            state=self._folder / self._top("state", str(default.state)),
            listen=listen,
            public_url=url or f"http://{listen}",
            queue=self._queue(),
            sources=self._entries("sources", self._source),
            registries=self._registries(),
            repositories=self._entries("repositories", self._repository),
            policy=self._folder / self._top("policy", str(default.policy)),
            operator=OperatorConfig(
                self._secrets(("operator", "token"), operator, config_values.credential)
            ),
            site=SiteConfig(**self._section("site")),
            workers=self._top("workers", default.workers),
            limits=Limits(**self._section("limits")),
            log_level=self._top("log_level", default.log_level).upper(),
        )

    def _queue(self) -> QueueConfig:
        raw = self._section("queue")
        urls = self._secrets(("queue", "url"), raw, config_values.queue_url)
        return QueueConfig(
            url=urls[0] if urls else None, durability=raw.get("durability", "strict")
        )

    def _source(self, path: KeyPath, raw: Mapping[str, Any]) -> SourceConfig:
        is_hub = raw["kind"] == "dockerhub"
        check = config_values.path_credential if is_hub else config_values.credential
        if "secret" not in raw and "secret_file" not in raw:
            self._note((*path, "secret"), "is missing: without it anyone could send")
        registry = self._value((*path, "registry"), raw, parse_registry)
        if registry is None and not is_hub and "registry" not in raw:
            self._note((*path, "registry"), "is missing: give host or host:port")
        if registry not in {None, DOCKER_HUB} and is_hub:
            self._note((*path, "registry"), f"must be {DOCKER_HUB}, or left out")
        return SourceConfig(
            name=str(path[-1]),
            kind=raw["kind"],
            secrets=self._secrets((*path, "secret"), raw, check),
            registry=registry or DOCKER_HUB,
            enabled=raw.get("enabled", True),
        )

    def _registries(self) -> dict[str, RegistryConfig]:
        found: dict[str, RegistryConfig] = {}
        for registry in self._entries("registries", self._registry).values():
            if registry.host in found:
                path = ("registries", registry.host)
                self._note(path, "is configured twice, under two of its names")
            found[registry.host] = registry
        return found

    def _registry(self, path: KeyPath, raw: Mapping[str, Any]) -> RegistryConfig:
        host = self._checked(path, str(path[-1]), parse_registry)
        passwords = self._secrets((*path, "password"), raw, config_values.password)
        has_password = "password" in raw or "password_file" in raw
        if has_password and "username" not in raw:
            self._note((*path, "username"), "is missing beside the password")
        if "username" in raw and not has_password:
            self._note((*path, "password"), "is missing beside the username")
        ca_file = self._folder / raw["ca_file"] if "ca_file" in raw else None
        if ca_file is not None and not ca_file.is_file():
            self._note((*path, "ca_file"), f"there is no file {str(ca_file)!r}")
        hosts = [
            self._checked((*path, "token_hosts", place), text, parse_registry)
            for place, text in enumerate(raw.get("token_hosts", ()))
        ]
        return RegistryConfig(
            host=host or "",
            plain_http=raw.get("plain_http", False),
            username=raw.get("username"),
            password=passwords[0] if passwords else None,
            ca_file=ca_file,
            token_hosts=tuple(host for host in hosts if host is not None),
        )

    def _repository(self, path: KeyPath, raw: Mapping[str, Any]) -> RepositoryConfig:
        default = RepositoryConfig(fqrn=str(path[-1]), storage="")
        storage = self._value((*path, "storage"), raw, config_values.storage_url)
        is_bucket = (storage or "").startswith("s3://")
        return RepositoryConfig(
            fqrn=default.fqrn,
            storage=storage or "",
            publisher=raw.get("publisher", default.publisher),
            keys=self._folder / raw.get("keys", default.keys),
            ttl=raw.get("ttl", default.ttl),
            s3=self._s3((*path, "s3"), raw) if "s3" in raw or is_bucket else None,
            auto_tags=self._auto_tags(path, raw) if "auto_tags" in raw else None,
            spool=self._folder / raw["spool"] if "spool" in raw else None,
            thin=self._checked((*path, "thin"), raw["thin"], ReferenceTemplate.parse)
            if "thin" in raw
            else None,
        )

    def _auto_tags(self, path: KeyPath, raw: Mapping[str, Any]) -> AutoTagsConfig:
        default = AutoTagsConfig()
        path, raw = (*path, "auto_tags"), raw["auto_tags"]
        keep = self._value((*path, "keep_for"), raw, parse_duration)
        every = self._value((*path, "every"), raw, parse_duration)
        return AutoTagsConfig(
            default.keep_seconds if keep is None else keep,
            default.every_seconds if every is None else every,
            raw.get("most", default.most),
        )

    def _s3(self, path: KeyPath, repository: Mapping[str, Any]) -> S3Config:
        raw: Mapping[str, Any] = repository.get("s3", {})
        if not str(repository.get("storage", "")).startswith("s3://"):
            self._note(path, "belongs to a storage s3://bucket/prefix only")
        secret_keys = self._secrets((*path, "secret_key"), raw, config_values.password)
        has_secret_key = "secret_key" in raw or "secret_key_file" in raw
        if has_secret_key and "access_key" not in raw:
            self._note((*path, "access_key"), "is missing beside the secret key")
        if "access_key" in raw and not has_secret_key:
            self._note((*path, "secret_key"), "is missing beside the access key")
        default = S3Config()
        return S3Config(
            endpoint=self._value((*path, "endpoint"), raw, config_values.public_url),
            region=raw.get("region", default.region),
            access_key=self._value((*path, "access_key"), raw, config_values.password),
            secret_key=secret_keys[0] if secret_keys else None,
            path_style=raw.get("path_style", default.path_style),
        )

    def _secrets(
        self, path: KeyPath, raw: Mapping[str, Any], check: Callable[[str], Secret]
    ) -> tuple[Secret, ...]:
        """Return the secrets of ``path`` or of the files that ``…_file`` names."""
        *_, key = path
        file_path = (*path[:-1], f"{key}_file")
        if key in raw and file_path[-1] in raw:
            self._note(path, f"stands beside {file_path[-1]}: give one of them")
            return ()

        def from_file(name: str) -> Secret:
            return check(config_values.secret_from_file(self._folder / name))

        return (
            *self._each(path, raw.get(str(key), ()), check),
            *self._each(file_path, raw.get(str(file_path[-1]), ()), from_file),
        )

    def _each(
        self, path: KeyPath, texts: str | list[str], read: Callable[[str], Secret]
    ) -> list[Secret]:
        if isinstance(texts, str):
            found = [self._checked(path, texts, read)]
        else:
            found = [
                self._checked((*path, place), text, read)
                for place, text in enumerate(texts)
            ]
        return [secret for secret in found if secret is not None]

    def _entries(
        self, section: str, build: Callable[[KeyPath, Mapping[str, Any]], T]
    ) -> dict[str, T]:
        """Return what ``build`` makes of each sound entry of a section, by its name."""
        entries: Mapping[str, Any] = self._top(section, {})
        return {
            name: build((section, name), raw)
            for name, raw in entries.items()
            if not any(known[:2] == (section, name) for known in self._known)
        }

    def _section(self, key: str) -> Mapping[str, Any]:
        """Return a section; one with anything wrong in it counts as absent."""
        wrong = any(known[:1] == (key,) for known in self._known)
        return {} if wrong else self._raw.get(key, {})

    def _top(self, key: str, default: Any) -> Any:
        return default if (key,) in self._known else self._raw.get(key, default)

    def _value(
        self, path: KeyPath, raw: Mapping[str, Any], check: Callable[[str], T]
    ) -> T | None:
        """Return the checked value of the last key of ``path``; None where absent."""
        key = path[-1]
        if key not in raw or path in self._known:
            return None
        return self._checked(path, raw[str(key)], check)

    def _checked(self, path: KeyPath, text: str, check: Callable[[str], T]) -> T | None:
        try:
            return check(text)
        except PermanentError as exc:
            self._note(path, str(exc))
            return None

    def _note(self, path: KeyPath, text: str) -> None:
        self._problems.append(Problem(path, text))
