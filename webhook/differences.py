"""What a look at a registry has found that nobody told us of. Pure.

A look is compared with what the ledger knows and, where that says nothing of a tag,
with the look before. What is being seen to already is no news.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from workers.ledger import ImageRecord, Outcome, Seen, State
from workers.policy import Policy, Rule
from workers.reference import Reference
from workers.run.retrying import MAX_ATTEMPTS

# What was given up because of some trouble is tried again after this time.
_REST_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the registry has in one image repository.

    Attributes:
        registry: canonical host.
        repository: path without host.
        tags: all of them.
        digests: of the watched ones, as far as they are images.
    """

    registry: str
    repository: str
    tags: frozenset[str]
    digests: Mapping[str, str] = field(default_factory=dict)

    def reference(self, tag: str) -> Reference:
        """Return the name of a tag."""
        return Reference(self.registry, self.repository, tag)


def rules_of(look: Look, policy: Policy) -> dict[str, Rule]:
    """Return the rules that allow the tags, those left out that none allows."""
    decided = {tag: policy.decide(look.reference(tag)) for tag in look.tags}
    return {
        tag: decision.rule
        for tag, decision in decided.items()
        if decision.allowed and decision.rule is not None
    }


def pushed(
    look: Look,
    rules: Mapping[str, Rule],
    known: Mapping[str, ImageRecord],
    seen: Seen | None,
    *,
    now: float,
) -> Iterator[str]:
    """Yield the tags that have to be looked into: new, moved, or given up long ago.

    Args:
        look: what there is.
        rules: by tag; only those with ``watch`` count.
        known: what the ledger knows, by tag.
        seen: at the look before; None: this is the first one.
        now: seconds since the epoch.
    """
    for tag, digest in sorted(look.digests.items()):
        rule, record = rules.get(tag), known.get(tag)
        if rule is None or rule.watch is None:
            continue
        if record is not None and not _was_turned_away(record):
            is_news = record.digest != digest or _is_given_up(record, now)
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


def deleted(
    look: Look, policy: Policy, known: Mapping[str, ImageRecord]
) -> Iterator[str]:
    """Yield the tags that are live here, gone there, and not to be kept for ever."""
    for tag, record in sorted(known.items()):
        if tag in look.tags or record.live_digest is None or record.held is not None:
            continue
        rule = policy.decide(look.reference(tag)).rule
        is_kept = rule is None or rule.keep is None
        if not (is_kept or record.is_owed or record.gone_since is not None):
            yield tag


def remembered(look: Look, rules: Mapping[str, Rule]) -> Seen:
    """Return what the next look has to know of this one."""
    return Seen(
        look.tags,
        look.digests,
        frozenset(
            tag
            for tag in look.digests
            if (watch := rules[tag].watch) is not None and watch.existing == "all"
        ),
    )


def _was_turned_away(record: ImageRecord) -> bool:
    """Whether all that the ledger knows is that the policy once refused it."""
    return record.state is State.REFUSED and record.digest is None


def _is_given_up(record: ImageRecord, now: float) -> bool:
    """Whether a run ended for trouble that may have passed since.

    What failed for its own sake, or ended workers, is not tried so often.
    """
    run = record.last_run
    return (
        record.state is State.FAILED
        and run is not None
        and run.outcome is Outcome.FAILED
        and run.attempt >= MAX_ATTEMPTS
        and run.ended is not None
        and run.ended + _REST_SECONDS < now
    )
