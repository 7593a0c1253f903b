"""What a valid policy says that its author can hardly mean.

Pure: what the machine or the configuration lacks for a rule is asked elsewhere.
"""

from collections.abc import Iterator, Sequence

from workers.policy.image_pattern import could_be_tag, image_pattern, tag_covers
from workers.policy.policy import Policy
from workers.policy.rule import Rule
from workers.reference import DOCKER_HUB

_ANYTHING = ("*", "**")
# Where anybody can have a namespace of their own.
_OPEN_REGISTRIES = (DOCKER_HUB, "quay.io", "ghcr.io")


def advice(policy: Policy) -> Iterator[str]:
    """Yield a line for each rule, or tags of it, that never match or allow too much."""
    for place, rule in enumerate(policy.rules):
        yield from _too_much(rule)
        yield from _never(rule, policy.rules[:place])


def _too_much(rule: Rule) -> Iterator[str]:
    host, _, path = rule.canonical_pattern.partition("/")
    if rule.effect == "deny":
        return
    if host in _ANYTHING:
        yield (
            f"{rule}: allows images of every registry that sends notifications: write"
            " out registries and namespaces that you trust"
        )
    elif host in _OPEN_REGISTRIES and path.partition("/")[0] in _ANYTHING:
        yield (
            f"{rule}: anybody can have a namespace at {host}: write out those that you"
            " trust"
        )


def _never(rule: Rule, earlier: Sequence[Rule]) -> Iterator[str]:
    """Yield why a rule never decides, or some of its tags."""
    impossible = [glob for glob in rule.tags if not could_be_tag(glob)]
    if impossible:
        yield (
            f"{rule}: no tag can match {', '.join(impossible)}: tags have letters,"
            " digits and . _ - only"
        )
    pattern = image_pattern(rule.pattern)
    wider = [one for one in earlier if image_pattern(one.pattern).covers(pattern)]
    left = [glob for glob in rule.tags if glob not in impossible]
    taken: dict[str, str] = {}
    for glob in left:
        before = (one for one in wider if any(tag_covers(g, glob) for g in one.tags))
        if (decided := next(before, None)) is not None:
            taken[glob] = str(decided)
    is_all = len(taken) == len(left)
    for first in dict.fromkeys(taken.values()):
        tags = ", ".join(glob for glob in taken if taken[glob] == first)
        what = "" if is_all and len(set(taken.values())) == 1 else f" about tags {tags}"
        yield (
            f"{rule}: never decides{what}, as {first} does so before: put the narrower"
            " rule first, or leave it out"
        )
