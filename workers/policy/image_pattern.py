"""Patterns over the names and tags of images.

``*`` stands for one path component or a part of one, ``**`` for any number of whole
components. A pattern says its registry, because ``atlas/*`` on somebody else's registry
is somebody else's namespace.
"""

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product
from typing import Self

from workers.errors import PermanentError
from workers.reference import DOCKER_HUB, InvalidReference, parse_registry

_ANY_DEPTH = "**"
# A component of a repository's name, or a piece of one, with stars in between.
_COMPONENT = re.compile(r"[a-z0-9._*-]+", re.ASCII)
# Stands for anything: no name of an image or tag has it.
_NO_NAME = "#"
_MOST_DEPTHS = 3
_PLACES = re.compile(r"\*|\?|\[[^]]*\]")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_HOST_WITH_STARS = re.compile(r"[a-z0-9.*-]+(?::[0-9*]+)?", re.ASCII)
# sigstore/cosign files signatures under sha256-<hex>.sig, .att and .sbom; the OCI
# distribution specification, "Referrers Tag Schema", uses sha256-<hex> itself.
_SIGNATURE_TAG = re.compile(r"sha(256|512)-[0-9a-f]{64,128}(\.(sig|att|sbom))?")


class InvalidPattern(PermanentError):
    """A pattern that could never match what its author means."""

    def __init__(self, pattern: str, mend: str) -> None:
        super().__init__(f"pattern {pattern[:300]!r} is not valid: {mend}")
        self.pattern = pattern


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A pattern over registry/repository.

    Attributes:
        text: the pattern in full, its registry's usual name included.
        literal: what every matching name begins with.
        components: a test for each component; None stands for ``**``.
    """

    text: str
    literal: str
    components: tuple[Callable[[str], object] | None, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a pattern, with Docker's defaults for names on Docker Hub.

        Raises:
            InvalidPattern: with the mend.
        """
        components = _canonical(text)
        canonical = "/".join(components)
        return cls(
            canonical,
            canonical.partition("*")[0],
            tuple(
                None if component == _ANY_DEPTH else _test(component)
                for component in components
            ),
        )

    def matches(self, name: str) -> bool:
        """Tell whether the whole of registry/repository matches."""
        if not name.startswith(self.literal):
            return False
        return _match(self.components, name.split("/"))

    def covers(self, other: "ImagePattern") -> bool:
        """Tell whether every name that matches the other pattern matches this one.

        With what no name has in place of the other's stars, only stars can match it.
        As a pattern of n components tells no more than n + 1 of them apart, ``**`` is
        tried with each number up to that. False where that is too much to try.
        """
        parts = other.text.split("/")
        if parts.count(_ANY_DEPTH) > _MOST_DEPTHS:
            return False
        depths = range(len(self.components) + 2)
        stretches = [
            # At the end it stands for something inside, not nothing.
            [[_NO_NAME] * depth for depth in depths if depth or place < len(parts) - 1]
            if part == _ANY_DEPTH
            else [[part.replace("*", _NO_NAME)]]
            for place, part in enumerate(parts)
        ]
        return all(
            _match(self.components, list(chain.from_iterable(name)))
            for name in product(*stretches)
            if any(name)
        )


@lru_cache(maxsize=4096)
def image_pattern(text: str) -> ImagePattern:
    """Return the parsed pattern; the same few are asked for again and again."""
    return ImagePattern.parse(text)


def tag_matches(glob: str, tag: str) -> bool:
    """Tell whether the whole tag matches a glob of ``*``, ``?`` and ``[…]``."""
    return _glob(glob)(tag) is not None


def tag_covers(glob: str, other: str) -> bool:
    """Tell whether every tag that one glob matches is surely matched by another."""
    if glob in {"*", other}:
        return True
    if set(other).isdisjoint("*?["):
        return tag_matches(glob, other)
    # A ? or […] of the one could be less than a star of the other.
    is_simple = set(glob).isdisjoint("?[")
    return is_simple and tag_matches(glob, _PLACES.sub(_NO_NAME, other))


def could_be_tag(glob: str) -> bool:
    """Tell whether any tag at all could match a glob."""
    return _TAG.fullmatch(_PLACES.sub("a", glob)) is not None


def is_signature_tag(tag: str) -> bool:
    """Tell whether a tag belongs to a signature or attestation, not to an image."""
    return _SIGNATURE_TAG.fullmatch(tag) is not None


def _test(component: str) -> Callable[[str], object]:
    # A host such as [::1]:5000 is no glob.
    return _glob(component) if "*" in component else component.__eq__


@lru_cache(maxsize=4096)
def _glob(text: str) -> Callable[[str], re.Match[str] | None]:
    # fnmatch quotes everything but its own signs, and its stars do not backtrack.
    return re.compile(fnmatch.translate(text), re.ASCII).match


def _match(
    pattern: tuple[Callable[[str], object] | None, ...], names: list[str]
) -> bool:
    """Match component by component; ``**`` takes as little as it can.

    Only the last ``**`` ever has to take more: what the ones before it let through
    stays right however much a later one takes.
    """
    place = at = 0
    retry: tuple[int, int] | None = None
    while at < len(names):
        if place < len(pattern):
            test = pattern[place]
            if test is None:
                # At the end of a pattern it stands for something inside, not nothing.
                if place == len(pattern) - 1:
                    return True
                place += 1
                retry = (place, at)
                continue
            if test(names[at]):
                place, at = place + 1, at + 1
                continue
        if retry is None:
            return False
        place, at = retry[0], retry[1] + 1
        retry = (place, at)
    return place == len(pattern)


def _canonical(text: str) -> list[str]:
    """Return the components of a pattern, registry first."""
    host, *path = text.split("/")
    if "@" in text or any(":" in component for component in path):
        raise InvalidPattern(text, "a tag goes into tags:, a digest nowhere")
    if not _could_be_host(host):
        name = text if path else f"library/{text}"
        raise InvalidPattern(text, f"it names no registry: write {DOCKER_HUB}/{name}")
    host = _host(text, host)
    if not path and host != _ANY_DEPTH:
        raise InvalidPattern(text, f"it names no repository: write {text}/**")
    if host == DOCKER_HUB and len(path) == 1 and path[0] != _ANY_DEPTH:
        path = ["library", *path]
    for component in path:
        if component != component.lower():
            raise InvalidPattern(text, "names of repositories are in lower case")
        good = _COMPONENT.fullmatch(component) and component not in {".", ".."}
        if not good or (_ANY_DEPTH in component and component != _ANY_DEPTH):
            mend = "use names, * for one component or a part, ** alone for any depth"
            raise InvalidPattern(text, mend)
    return [host, *path]


def _could_be_host(text: str) -> bool:
    """Tell a host from a namespace as ``Reference.parse`` does."""
    is_host = "." in text or ":" in text or text == "localhost" or text != text.lower()
    return is_host or text in {"*", _ANY_DEPTH}


def _host(text: str, host: str) -> str:
    if host == _ANY_DEPTH:
        return host
    if "*" in host:
        if _ANY_DEPTH in host or not _HOST_WITH_STARS.fullmatch(host):
            raise InvalidPattern(text, "the registry is host or host:port")
        return host
    try:
        return parse_registry(host)
    except InvalidReference as exc:
        raise InvalidPattern(text, str(exc)) from exc
