"""Every key of the configuration with its meaning and default: the rows of README.

The schema says what a key means; its default is the program's own. Only where that is
found out at run time (``<listen>``) does the schema say it in words.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from workers.config.document import config_schema
from workers.config.sections import (
    AutoTagsConfig,
    CollectConfig,
    Config,
    Limits,
    QueueConfig,
    RegistryConfig,
    RepositoryConfig,
    S3Config,
    SourceConfig,
)
from workers.documents.quantities import parse_duration

_DEFAULTS: Mapping[str, object] = {
    "": Config(),
    "queue.": QueueConfig(),
    "sources.<name>.": SourceConfig("", "", (), ""),
    "registries.<host>.": RegistryConfig(""),
    "repositories.<fqrn>.": RepositoryConfig(""),
    "repositories.<fqrn>.auto_tags.": AutoTagsConfig(),
    "repositories.<fqrn>.collect.": CollectConfig(0),
    "repositories.<fqrn>.s3.": S3Config(),
    "limits.": Limits(),
}
# Keys whose values are written as times.
_SECONDS = {
    "every": "every_seconds",
    "keep_for": "keep_seconds",
    "restorable_for": "restorable_seconds",
}


class Setting(NamedTuple):
    """One key of the configuration, as README shows it.

    Attributes:
        key: its path, ``sources.<name>.kind``.
        default: as it would be written; empty where there is none.
        meaning: one line.
    """

    key: str
    default: str
    meaning: str


def settings() -> tuple[Setting, ...]:
    """Return every key that a configuration may have, in the schema's order."""
    return tuple(_settings(config_schema(), ""))


def _settings(schema: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    required = schema.get("required", ())
    for key, rules in schema.get("properties", {}).items():
        if "description" in rules:
            default = rules.get("default")
            if default is None and key not in required:
                default = _default(prefix, key)
            yield Setting(prefix + key, default or "", rules["description"])
        yield from _settings(rules, f"{prefix}{key}.")
    item = schema.get("additionalProperties")
    if isinstance(item, dict):
        yield from _settings(item, f"{prefix}<{item['x-name']}>.")


def _default(prefix: str, key: str) -> str | None:
    section = _DEFAULTS.get(prefix)
    if key in _SECONDS:
        return _duration_text(getattr(section, _SECONDS[key]))
    value = getattr(section, key, None)
    if value is None or value == "":
        return None
    if isinstance(value, tuple):
        return str(list(value))
    text = str(value)
    return text.lower() if isinstance(value, bool) or text.isupper() else text


def _duration_text(seconds: int) -> str:
    """Return a time in its largest whole unit; nobody says weeks of a default."""
    lengths = {unit: parse_duration(f"1{unit}") for unit in "dhms"}
    unit = next(unit for unit in lengths if not seconds % lengths[unit])
    return f"{seconds // lengths[unit]}{unit}"
