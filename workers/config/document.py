"""The configuration as its file says it, before it becomes a ``Config``.

Reads the file, puts the environment's values in, and lists what the schema refuses.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from workers.config.source_kinds import SOURCE_KINDS
from workers.config.values import BadValue, expand
from workers.documents.schema_check import (
    Problem,
    load_schema,
    schema_problems,
)
from workers.documents.yaml_document import (
    KeyPath,
    UnreadableYaml,
    YamlDocument,
    parse_yaml,
)
from workers.errors import PermanentError

CONFIG_SCHEMA = ("workers.config", "config.schema.json")
_LARGEST_FILE_BYTES = 1_048_576
# Names of design section 5.2 that a later version understands: their own error says so,
# until the schema allows them.
_KINDS = (
    *("gitlab-hook", "gitlab-ci", "github-actions", "harbor", "quay", "ghcr", "acr"),
    *("ecr", "gar", "nexus", "jfrog", "zot", "gitea", "aliyun", "generic"),
)
_PLANNED = (
    ("sources", "kind", _KINDS),
    ("repositories", "publisher", ("cvmfs_server", "gateway")),
)


class ConfigError(PermanentError):
    """Everything that is wrong with a configuration.

    Args:
        path: the file, which each line of the message begins with; None: the problems
            say themselves where they are.

    Attributes:
        problems: one line each, ``key.path: what is wrong, and the mend``.
    """

    def __init__(self, problems: tuple[str, ...], path: Path | None = None) -> None:
        where = "" if path is None else f"{path}: "
        super().__init__("\n".join(f"{where}{problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """What a configuration file says.

    Attributes:
        path: the file.
        values: as the schema describes them; what it refuses is left out, but for items
            of lists, which ``problems`` has.
        problems: what is wrong so far.
        source: the file, for its line numbers.
    """

    path: Path
    values: Mapping[str, Any]
    problems: list[Problem]
    source: YamlDocument

    def error(self) -> ConfigError:
        """Return everything in ``problems`` as one error, in the file's order."""

        def line(problem: Problem) -> int:
            return self.source.line(problem.path)

        return ConfigError(
            tuple(
                f"{_key(problem.path)}: {problem.text} (line {line(problem)})"
                for problem in sorted(self.problems, key=line)
            ),
            self.path,
        )


def read_document(path: Path, environ: Mapping[str, str]) -> ConfigDocument:
    """Read a file and replace ``${NAME}`` in its values.

    Raises:
        ConfigError: the file is no YAML at all.
    """
    source = _parse(path)
    problems: list[Problem] = []
    values = _expanded(source.value, environ, (), problems)
    if values is None:
        values = {}
    if isinstance(values, dict):
        # A section whose lines are all commented out is as good as absent.
        values = {key: value for key, value in values.items() if value is not None}
    schema = config_schema()
    refused = schema_problems(Draft202012Validator(schema), values)
    if not isinstance(values, dict):
        return ConfigDocument(path, {}, refused, source)
    planned = list(_planned(schema, values))
    merged = _merged(problems, planned, refused)
    sound = _without(values, [problem.path for problem in merged])
    return ConfigDocument(path, sound, merged, source)


def config_schema() -> dict[str, Any]:
    """Return the schema of the file, with the kinds of sources that there are."""
    schema = copy.deepcopy(dict(load_schema(*CONFIG_SCHEMA)))
    source = _entry(schema, "sources")
    source["kind"]["enum"] = list(SOURCE_KINDS)
    *others, last = (f"`{kind}`" for kind in SOURCE_KINDS)
    source["kind"]["description"] += f": {', '.join(others)} or {last}"
    source["registry"]["default"] = ", ".join(
        f"{known.registry} for {kind}"
        for kind, known in SOURCE_KINDS.items()
        if known.registry is not None
    )
    return schema


def _entry(schema: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Return what the schema says of the keys of each entry of a section."""
    entries: Mapping[str, Any] = schema["properties"][section]["additionalProperties"]
    keys: dict[str, Any] = entries["properties"]
    return keys


def _parse(path: Path) -> YamlDocument:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES + 1).decode()
        return parse_yaml(text)
    except OSError as exc:
        raise ConfigError((f"cannot be read: {exc.strerror}",), path) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(("is not UTF-8 text",), path) from exc
    except UnreadableYaml as exc:
        raise ConfigError((str(exc),), path) from exc


def _expanded(
    value: object, environ: Mapping[str, str], path: KeyPath, problems: list[Problem]
) -> object:
    """Return ``value`` with ``${NAME}`` replaced in every text, keys left alone."""
    if isinstance(value, dict):
        return {
            key: _expanded(item, environ, (*path, key), problems)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _expanded(item, environ, (*path, place), problems)
            for place, item in enumerate(value)
        ]
    if isinstance(value, str):
        try:
            return expand(value, environ)
        except BadValue as exc:
            problems.append(Problem(path, str(exc)))
    return value


def _planned(schema: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what a later version understands, and this one's schema does not allow."""
    for section, key, planned in _PLANNED:
        words = set(planned).difference(_entry(schema, section)[key]["enum"])
        for name, word in _words(values.get(section), key):
            if word in words:
                text = f"{key} {word!r} is not available in this version"
                yield Problem((section, name, key), text)


def _merged(
    earlier: list[Problem], planned: list[Problem], refused: list[Problem]
) -> list[Problem]:
    """Return each thing once; of what a later version understands, just that."""
    spoken = {problem.path for problem in earlier}
    silent = {problem.path[:2] for problem in planned}
    rest = (p for p in refused if p.path not in spoken and p.path[:2] not in silent)
    return [*earlier, *planned, *rest]


def _without(values: dict[str, Any], wrong: Collection[KeyPath]) -> dict[str, Any]:
    """Return the values without those that are wrong, so that the rest can be read."""
    sound = copy.deepcopy(values)
    for path in wrong:
        *above, key = path or ("",)
        place: object = sound
        for part in above:
            place = place.get(part) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(key, None)
    return sound


def _words(entries: object, key: str) -> Iterator[tuple[str, str]]:
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get(key), str):
            yield name, entry[key]


def _key(path: KeyPath) -> str:
    return ".".join(str(part) for part in path) or "configuration"
