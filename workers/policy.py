"""Which images go into which repository: the first rule that matches decides.

Deciding is pure. The file's contract with users is design section 5.3; it is small
enough to be reviewed in a merge request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workers.errors import PermanentError
from workers.reference import Reference


class PolicyError(PermanentError):
    """Everything that is wrong with a policy.

    Attributes:
        problems: one line each, ``rules.2.tags: what is wrong, and the mend``.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
        formats: what is published, sorted.
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
    formats: tuple[str, ...] = ("flat", "layers")
    platforms: tuple[str, ...] = ("linux/amd64",)
    limits: ImageLimits = ImageLimits()
    private: Literal["refuse", "allow"] = "refuse"
    require_label: Mapping[str, str] = field(default_factory=dict)
    watch: Watch | None = None
    keep: Keep | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says of one reference.

    Attributes:
        reference: canonical.
        allowed: whether it is published.
        reason: one line for the author of the image.
        rule: which one decided; None: none matched.
    """

    reference: str
    allowed: bool
    reason: str
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules, in the order of the file.

    Attributes:
        rules: in order.
        digest: SHA-256 of the file, in hex.
    """

    rules: tuple[Rule, ...] = ()
    digest: str = ""

    def decide(self, reference: Reference) -> Decision:
        """Return what the first rule that matches image and tag says."""
        raise NotImplementedError


def parse_policy(text: str) -> Policy:
    """Parse a policy file.

    Raises:
        PolicyError: with every problem.
    """
    raise NotImplementedError


class PolicyFile:
    """A policy that is read again when its file changes.

    Attributes:
        path: the file.
        problem: why the file as it is now is not in force; None: it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None

    def current(self) -> Policy:
        """Return the policy in force."""
        raise NotImplementedError
