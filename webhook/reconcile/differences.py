"""What a look at a registry has found that nobody told us of. Pure.

A look is compared with what the ledger knows and, where that says nothing of a tag,
with the look before.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from workers.ledger import ImageRecord, Outcome, Seen, State, Told
from workers.policy import Policy, Rule
from workers.policy.watching import RECONCILER
from workers.reference import Reference

# What came to nothing is told again after this time.
REST_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the registry has in one image repository.

    Attributes:
        registry: canonical host.
        repository: path without host.
        tags: all of them.
        rules: that allow the tags, those left out that none allows.
        digests: of the watched tags, as far as they could be had.
    """

    registry: str
    repository: str
    tags: frozenset[str]
    rules: Mapping[str, Rule]
    digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def under(
        cls, policy: Policy, registry: str, repository: str, tags: Iterable[str]
    ) -> Self:
        """Return a look that has found tags, and has not asked what they lead to."""
        listed = frozenset(tags)
        rules = {}
        for tag in listed:
            decision = policy.decide(Reference(registry, repository, tag))
            if decision.allowed and decision.rule is not None:
                rules[tag] = decision.rule
        return cls(registry, repository, listed, rules)

    @property
    def watched(self) -> list[str]:
        """The tags of which it is to be asked what they lead to."""
        return [tag for tag, rule in self.rules.items() if rule.watch is not None]

    def reference(self, tag: str) -> Reference:
        """Return the name of a tag."""
        return Reference(self.registry, self.repository, tag)

    def without(self, tags: Collection[str]) -> Self:
        """Return the same, as if some tags could not be had."""
        kept = self.digests.keys() - set(tags)
        return replace(self, digests={tag: self.digests[tag] for tag in kept})


@dataclass(frozen=True, slots=True)
class Difference:
    """Something of a tag that somebody has to be told.

    Attributes:
        kind: ``push``, ``return`` (it was gone, and is there again) or ``delete``.
        tag: without the rest of its name.
        what: in words that are the same as long as nothing has changed.
    """

    kind: Literal["push", "return", "delete"]
    tag: str
    what: str


def findings(
    look: Look,
    policy: Policy,
    known: Mapping[str, ImageRecord],
    seen: Seen | None,
    *,
    now: float,
) -> list[Difference]:
    """Return what a look has found, at most one thing of each tag.

    Args:
        look: what there is.
        policy: says what is watched and what is kept.
        known: what the ledger knows, by tag.
        seen: at the look before; None: this is the first one.
        now: seconds since the epoch.
    """
    found: dict[str, Difference] = {}
    kinds: tuple[tuple[Literal["push", "return", "delete"], Iterable[str]], ...] = (
        ("return", returned(look, known)),
        ("push", pushed(look, known, seen, now=now)),
        ("delete", deleted(look, policy, known)),
    )
    for kind, tags in kinds:
        for tag in tags:
            what = f"{kind} {look.digests.get(tag)} by policy {policy.digest}"
            found.setdefault(tag, Difference(kind, tag, what))
    return list(found.values())


def pushed(
    look: Look,
    known: Mapping[str, ImageRecord],
    seen: Seen | None,
    *,
    now: float,
) -> Iterator[str]:
    """Yield the tags that have to be looked into: new, moved, or given up long ago.

    What is being seen to already is no news.

    Args:
        look: what there is.
        known: what the ledger knows, by tag.
        seen: at the look before; None: this is the first one.
        now: seconds since the epoch.
    """
    for tag, digest in sorted(look.digests.items()):
        rule, record = look.rules.get(tag), known.get(tag)
        if rule is None or rule.watch is None:
            continue
        if record is not None and not _was_turned_away(record):
            is_news = record.digest != digest or _may_go_live(record, now)
            if is_news and not record.is_owed:
                yield tag
        elif rule.watch.existing == "all":
            before = None if seen is None or tag not in seen.fetched else seen
            if before is None or before.digests.get(tag) != digest:
                yield tag
        elif seen is not None and (
            tag not in seen.tags or seen.digests.get(tag, digest) != digest
        ):
            yield tag


def returned(look: Look, known: Mapping[str, ImageRecord]) -> Iterator[str]:
    """Yield the tags that were gone, and are there again."""
    for tag, record in sorted(known.items()):
        if record.gone_since is not None and tag in look.rules:
            yield tag


def deleted(
    look: Look, policy: Policy, known: Mapping[str, ImageRecord]
) -> Iterator[str]:
    """Yield the tags that are live here, gone there, and not to be kept for ever."""
    for tag, record in sorted(known.items()):
        if (
            tag in look.tags
            or record.live_digest is None
            or record.restored_instead_of is not None
        ):
            continue
        rule = policy.decide(look.reference(tag)).rule
        if rule is not None and rule.keep is not None and not record.is_owed:
            yield tag


def is_repeated(
    finding: Difference, told: Told | None, record: ImageRecord | None, *, now: float
) -> bool:
    """Tell whether a finding was told before, and nothing has come of it.

    A registry that contradicts itself, or a job that fails early, would else be asked
    for at each look. Where somebody else has asked for the tag since, it is news.
    """
    if told is None or told.what != finding.what or now >= told.time + REST_SECONDS:
        return False
    run = None if record is None else record.last_run
    return run is None or run.source == RECONCILER


def remembered(look: Look, seen: Seen | None) -> Seen:
    """Return what the next look has to know of this one.

    A watched tag that could not be had is not remembered as one that is there, so that
    it is new when it can; of what there was at the first look that cannot be said.
    """
    lost = set(look.watched) - look.digests.keys()
    before = Seen(look.tags) if seen is None else seen
    digests = {tag: before.digests[tag] for tag in lost & before.digests.keys()}
    return Seen(
        look.tags - (lost - before.tags),
        digests | dict(look.digests),
        frozenset(
            tag
            for tag in look.digests
            if (watch := look.rules[tag].watch) is not None and watch.existing == "all"
        )
        | (lost & before.fetched),
    )


def _was_turned_away(record: ImageRecord) -> bool:
    """Whether all that the ledger knows is that the policy once refused it."""
    return record.state is State.REFUSED and record.digest is None


def is_given_up(record: ImageRecord, now: float) -> bool:
    """Whether runs ended for trouble that may have passed since."""
    return (
        record.state is State.FAILED
        and record.given_up is not None
        and record.given_up + REST_SECONDS < now
    )


def _may_go_live(record: ImageRecord, now: float) -> bool:
    """Whether another look at the same digest may end better than the last.

    What is refused may have been made public since, or opted in. What failed for its
    own sake, or ended workers, stays as it is.
    """
    run = record.last_run
    return is_given_up(record, now) or (
        record.state is State.REFUSED
        and run is not None
        and run.outcome is Outcome.REFUSED
        and run.ended is not None
        and run.ended + REST_SECONDS < now
    )
