"""The one configuration, frozen, built once from a file and the environment.

Nothing here connects, creates or writes. Reading fails with *all* that is wrong, each
by its key path. The contract with users is design section 5.2; the keys and their
meanings stand in ``config.schema.json``, their defaults in ``sections.py``.
"""

from collections.abc import Mapping
from pathlib import Path

from workers.config.document import ConfigError, read_document
from workers.config.reading import ConfigReader
from workers.config.sections import (
    AutoTagsConfig,
    CollectConfig,
    Config,
    Limits,
    OperatorConfig,
    QueueConfig,
    RegistryConfig,
    RepositoryConfig,
    S3Config,
    SiteConfig,
    SourceConfig,
)
from workers.config.values import Secret

__all__ = [
    "AutoTagsConfig",
    "CollectConfig",
    "Config",
    "ConfigError",
    "Limits",
    "OperatorConfig",
    "QueueConfig",
    "RegistryConfig",
    "RepositoryConfig",
    "S3Config",
    "Secret",
    "SiteConfig",
    "SourceConfig",
    "allowed_hosts",
    "load_config",
]


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
    config = ConfigReader(path, document, environ).config()
    if document.problems:
        raise document.error()
    return config
