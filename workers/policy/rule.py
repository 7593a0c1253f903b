"""One rule of the policy: its type, and how it is read from the file.

The schema has been checked before; what it cannot say is checked here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from workers.documents.quantities import parse_duration, parse_size
from workers.documents.schema_check import Problem
from workers.errors import PermanentError
from workers.formats.formats import DEFAULT_FORMATS, with_parts
from workers.policy.image_pattern import image_pattern, tag_matches
from workers.reference import Reference

T = TypeVar("T")

_DENY_KEYS = frozenset({"deny", "tags", "reason"})
_SHORTEST_WATCH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may cost.

    Attributes:
        size_bytes: of all files, unpacked.
        files: entries of all layers together.
        layers: how many.
    """

    size_bytes: int = 20 * 2**30
    files: int = 1_000_000
    layers: int = 127


@dataclass(frozen=True, slots=True)
class Watch:
    """How the registry is asked for pushes that nobody told us of.

    Attributes:
        every_seconds: between two looks.
        existing: ``none`` begins with what is pushed from now on, ``all`` fetches old
            tags too.
    """

    every_seconds: int
    existing: Literal["none", "all"] = "none"


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept of old tags.

    Attributes:
        newest: how many tags; None: all.
        grace_seconds: how long the rest stays before it is removed.
    """

    newest: int | None
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the policy.

    Attributes:
        effect: what happens to an image that matches.
        pattern: over registry/repository, as written.
        number: place in the file, from 1.
        line: of the file, from 1.
        tags: globs; any of them has to match.
        repository: the fully qualified name of ``to``; None: the only one there is.
        formats: what is published.
        platforms: ``os/arch`` or ``os/arch/variant``, as written.
        limits: what an image may cost.
        private: whether to publish what no anonymous client can pull.
        require_label: labels that the image's configuration must carry.
        watch: how to look for lost notifications; None: not at all.
        keep: what is kept of old tags; None: everything.
        reason: the operator's words, for the author of a refused image.
    """

    effect: Literal["allow", "deny"]
    pattern: str
    number: int = 1
    line: int = 1
    tags: tuple[str, ...] = ("*",)
    repository: str | None = None
    formats: tuple[str, ...] = DEFAULT_FORMATS
    platforms: tuple[str, ...] = ("linux/amd64",)
    limits: ImageLimits = ImageLimits()
    private: Literal["refuse", "allow"] = "refuse"
    require_label: Mapping[str, str] = field(default_factory=dict)
    watch: Watch | None = None
    keep: Keep | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"rule {self.number} (line {self.line}): {self.effect} {self.pattern}"

    @property
    def canonical_pattern(self) -> str:
        """The pattern with the registry's usual name in front."""
        return image_pattern(self.pattern).text

    def matches_name(self, reference: Reference) -> bool:
        """Tell whether registry and repository match."""
        return image_pattern(self.pattern).matches(reference.name)

    def matches_tag(self, tag: str) -> bool:
        """Tell whether one of the rule's globs matches the tag."""
        return any(tag_matches(glob, tag) for glob in self.tags)


def read_rule(
    raw: Mapping[str, Any], number: int, line: int
) -> tuple[Rule, list[Problem]]:
    """Return a rule and what is wrong with it, by key path inside the rule."""
    problems: list[Problem] = []
    rule = _Reading(raw, problems).rule(number, line)
    return rule, problems


class _Reading:
    """Reads the values of one rule, and notes what is wrong with them."""

    def __init__(self, raw: Mapping[str, Any], problems: list[Problem]) -> None:
        self._raw = raw
        self._problems = problems

    def rule(self, number: int, line: int) -> Rule:
        raw = self._raw
        effect: Literal["allow", "deny"] = "deny" if "deny" in raw else "allow"
        if ("deny" in raw) == ("allow" in raw):
            self._note((), "must have either allow: or deny:")
        elif effect == "deny":
            for key in raw.keys() - _DENY_KEYS:
                self._note((key,), "is for allow: only")
        if effect in raw:
            self._checked((effect,), image_pattern)
        default = Rule(effect, raw.get(effect, ""), number, line)
        return dataclasses.replace(
            default,
            tags=tuple(raw.get("tags", default.tags)),
            repository=raw.get("to"),
            formats=with_parts(raw.get("formats", default.formats)),
            platforms=tuple(dict.fromkeys(raw.get("platforms", default.platforms))),
            limits=self._limits(),
            private=raw.get("private", default.private),
            require_label=raw.get("require_label", default.require_label),
            watch=self._watch(),
            keep=self._keep(),
            reason=raw.get("reason"),
        )

    def _limits(self) -> ImageLimits:
        raw = self._raw.get("limits", {})
        default = ImageLimits()
        size = raw.get("size", default.size_bytes)
        if isinstance(size, str):
            size = self._checked(("limits", "size"), parse_size) or default.size_bytes
        return ImageLimits(
            size_bytes=size,
            files=raw.get("files", default.files),
            layers=raw.get("layers", default.layers),
        )

    def _watch(self) -> Watch | None:
        raw = self._raw.get("watch")
        if raw is None:
            return None
        every = self._checked(("watch", "every"), parse_duration)
        if every is not None and every < _SHORTEST_WATCH_SECONDS:
            self._note(("watch", "every"), "must be at least 1m")
        watch = Watch(every or 0)
        return dataclasses.replace(watch, existing=raw.get("existing", watch.existing))

    def _keep(self) -> Keep | None:
        raw = self._raw.get("keep")
        if raw is None:
            return None
        grace = self._checked(("keep", "grace"), parse_duration)
        newest = raw.get("newest")
        if newest is not None and self._raw.get("watch", {}).get("existing") == "all":
            self._note(
                ("keep", "newest"),
                "cannot stand beside watch.existing: all, as the registry does not say"
                " which of the old tags are newest: leave out one of them",
            )
        return Keep(newest, grace or 0)

    def _checked(self, path: tuple[str, ...], check: Callable[[str], T]) -> T | None:
        value: Any = self._raw
        for key in path:
            value = value[key]
        try:
            return check(value)
        except PermanentError as exc:
            self._note(path, str(exc))
            return None

    def _note(self, path: tuple[str, ...], text: str) -> None:
        self._problems.append(Problem(path, text))
