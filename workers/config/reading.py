"""From the keys of a configuration file to values, with all that is wrong noted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from workers.config import values
from workers.config.document import ConfigDocument
from workers.config.sections import (
    AutoTagsConfig,
    CollectConfig,
    Config,
    Limits,
    OperatorConfig,
    ProxyConfig,
    QueueConfig,
    RegistryConfig,
    RepositoryConfig,
    S3Config,
    SiteConfig,
    SourceConfig,
)
from workers.config.source_kinds import SOURCE_KINDS
from workers.config.values import Network, Secret
from workers.documents.quantities import parse_duration, parse_size
from workers.documents.schema_check import UNKNOWN_KEY, Problem
from workers.documents.yaml_document import KeyPath
from workers.errors import PermanentError
from workers.reference import ReferenceTemplate, parse_registry

T = TypeVar("T")

_SHORTEST_COLLECT_SECONDS = 3600
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


class ConfigReader:
    """Makes values of what the schema accepts, and notes what is wrong with them.

    What is already known to be wrong is left out, so that nothing is said twice.
    """

    def __init__(
        self, path: Path, document: ConfigDocument, environ: Mapping[str, str]
    ) -> None:
        # A process may go elsewhere later, a name beside the file must not.
        self._path = path.absolute()
        self._folder = self._path.parent
        self._raw = document.values
        self._environ = environ
        self._problems = document.problems
        self._known = {problem.path for problem in document.problems}
        # A key that seems to be missing may be an unknown one, misspelt.
        self._unknown = [
            (problem.path[:-1], problem.text)
            for problem in document.problems
            if problem.text.startswith(UNKNOWN_KEY)
        ]

    def config(self) -> Config:
        """Return the configuration; what is wrong is noted in the document."""
        default = Config()
        listen = self._value(("listen",), self._raw, values.listen_address)
        listen = listen or default.listen
        url = self._value(("public_url",), self._raw, values.public_url)
        operator = self._section("operator")
        return Config(
            path=self._path,
            state=self._folder / self._top("state", str(default.state)),
            listen=listen,
            public_url=url or f"http://{listen}",
            trusted_proxies=self._networks("trusted_proxies"),
            keep_alive_seconds=self._top(
                "keep_alive_seconds", default.keep_alive_seconds
            ),
            queue=self._queue(),
            sources=self._entries("sources", self._source),
            registries=self._registries(),
            proxies=self._proxies(),
            repositories=self._entries("repositories", self._repository),
            policy=self._folder / self._top("policy", str(default.policy)),
            operator=OperatorConfig(
                self._secrets(("operator", "token"), operator, values.credential)
            ),
            site=SiteConfig(**self._section("site")),
            workers=self._top("workers", default.workers),
            worker_memory_mib=self._top("worker_memory_mib", default.worker_memory_mib),
            disk_floor=self._value(("disk_floor",), self._raw, parse_size),
            limits=Limits(**self._section("limits")),
            log_level=self._top("log_level", default.log_level).upper(),
        )

    def _queue(self) -> QueueConfig:
        raw = self._section("queue")
        urls = self._secrets(("queue", "url"), raw, values.queue_url)
        return QueueConfig(url=urls[0] if urls else None, **_given(raw, "durability"))

    def _networks(self, key: str) -> tuple[Network, ...]:
        found = [
            self._checked((key, place), text, values.network)
            for place, text in enumerate(self._raw.get(key, ()))
        ]
        return tuple(network for network in found if network is not None)

    def _source(self, path: KeyPath, raw: Mapping[str, Any]) -> SourceConfig:
        kind = SOURCE_KINDS[raw["kind"]]
        in_path = kind.has_secret_in_path
        check = values.path_credential if in_path else values.credential
        if not self._has(path, raw, "secret", "secret_file"):
            self._note((*path, "secret"), "is missing: without it anyone could send")
        registry = self._value((*path, "registry"), raw, parse_registry)
        if kind.registry is None and not self._has(path, raw, "registry"):
            self._note((*path, "registry"), "is missing: give host or host:port")
        if kind.registry is not None and registry not in {None, kind.registry}:
            self._note((*path, "registry"), f"must be {kind.registry}, or left out")
        return SourceConfig(
            name=str(path[-1]),
            kind=raw["kind"],
            secrets=self._secrets((*path, "secret"), raw, check),
            registry=registry or kind.registry or "",
            **_given(raw, "enabled"),
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
        passwords = self._secrets((*path, "password"), raw, values.password)
        has_password = self._has(path, raw, "password", "password_file")
        has_username = self._has(path, raw, "username")
        if has_password and not has_username:
            self._note((*path, "username"), "is missing beside the password")
        if has_username and not has_password:
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
            **_given(raw, "plain_http", "username"),
            password=passwords[0] if passwords else None,
            password_file=self._folder / raw["password_file"]
            if "password_file" in raw
            else None,
            ca_file=ca_file,
            token_hosts=tuple(host for host in hosts if host is not None),
            proxy=self._value((*path, "proxy"), raw, values.proxy_url),
        )

    def _proxies(self) -> ProxyConfig:
        """Return what the environment says, in either case, as curl reads it."""
        said = {name: self._environ.get(name.lower(), "") for name in _PROXY_VARIABLES}
        for name in _PROXY_VARIABLES:
            said[name] = said[name] or self._environ.get(name, "")
        https, http, exempt = (said[name].strip() for name in _PROXY_VARIABLES)
        return ProxyConfig(
            self._checked(("HTTPS_PROXY",), https, values.proxy_url) if https else None,
            self._checked(("HTTP_PROXY",), http, values.proxy_url) if http else None,
            exempt,
        )

    def _repository(self, path: KeyPath, raw: Mapping[str, Any]) -> RepositoryConfig:
        default = RepositoryConfig(str(path[-1]))
        storage = self._value((*path, "storage"), raw, values.storage_url)
        is_bucket = (storage or "").startswith("s3://")
        return RepositoryConfig(
            fqrn=default.fqrn,
            storage=storage or default.storage,
            publisher=raw.get("publisher", default.publisher),
            keys=self._folder / raw.get("keys", default.keys),
            ttl=raw.get("ttl", default.ttl),
            s3=self._s3((*path, "s3"), raw) if "s3" in raw or is_bucket else None,
            auto_tags=self._auto_tags(path, raw) if "auto_tags" in raw else None,
            collect=self._collect(path, raw) if "collect" in raw else None,
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

    def _collect(self, path: KeyPath, raw: Mapping[str, Any]) -> CollectConfig:
        path, raw = (*path, "collect"), raw["collect"]
        every = self._value((*path, "every"), raw, parse_duration)
        if every is not None and every < _SHORTEST_COLLECT_SECONDS:
            self._note((*path, "every"), "must be at least 1h")
        default = CollectConfig(every or 0)
        restorable = self._value((*path, "restorable_for"), raw, parse_duration)
        keep = self._value((*path, "keep_for"), raw, parse_duration)
        return CollectConfig(
            default.every_seconds,
            default.restorable_seconds if restorable is None else restorable,
            default.keep_seconds if keep is None else keep,
        )

    def _s3(self, path: KeyPath, repository: Mapping[str, Any]) -> S3Config:
        raw: Mapping[str, Any] = repository.get("s3", {})
        storage = str(repository.get("storage", "s3://"))  # what is missing is said
        if not storage.startswith("s3://"):
            self._note(path, "belongs to a storage s3://bucket/prefix only")
        secret_keys = self._secrets((*path, "secret_key"), raw, values.password)
        has_secret_key = self._has(path, raw, "secret_key", "secret_key_file")
        has_access_key = self._has(path, raw, "access_key")
        if has_secret_key and not has_access_key:
            self._note((*path, "access_key"), "is missing beside the secret key")
        if has_access_key and not has_secret_key:
            self._note((*path, "secret_key"), "is missing beside the access key")
        default = S3Config()
        return S3Config(
            endpoint=self._value((*path, "endpoint"), raw, values.public_url),
            region=raw.get("region", default.region),
            access_key=self._value((*path, "access_key"), raw, values.password),
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
            return check(values.secret_from_file(self._folder / name))

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
        """Return what ``build`` makes of each entry of a section, by its name.

        One whose kind is wrong is left out: nobody can say what belongs there.
        """
        entries: Mapping[str, Any] = self._raw.get(section, {})
        return {
            name: build((section, name), raw)
            for name, raw in entries.items()
            if self._known.isdisjoint(
                ((section, name, "kind"), (section, name, "publisher"))
            )
        }

    def _section(self, key: str) -> Mapping[str, Any]:
        section: Mapping[str, Any] = self._raw.get(key, {})
        return section

    def _top(self, key: str, default: Any) -> Any:
        return self._raw.get(key, default)

    def _has(self, path: KeyPath, raw: Mapping[str, Any], *keys: str) -> bool:
        """Tell whether one of the keys is there, or could be what is wrong there."""
        return any(
            key in raw
            or (*path, key) in self._known
            or any(path == at and repr(key) in text for at, text in self._unknown)
            for key in keys
        )

    def _value(
        self, path: KeyPath, raw: Mapping[str, Any], check: Callable[[str], T]
    ) -> T | None:
        """Return the checked value of the last key of ``path``; None where absent."""
        key = path[-1]
        if key not in raw:
            return None
        return self._checked(path, raw[str(key)], check)

    def _checked(self, path: KeyPath, text: str, check: Callable[[str], T]) -> T | None:
        if path in self._known:
            return None
        try:
            return check(text)
        except PermanentError as exc:
            self._note(path, str(exc))
            return None

    def _note(self, path: KeyPath, text: str) -> None:
        self._problems.append(Problem(path, text))


def _given(raw: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return what is said of these keys; what is not is left to the defaults."""
    return {key: raw[key] for key in keys if key in raw}
