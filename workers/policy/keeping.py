"""Which tags are more than their rules keep. Pure."""

from collections.abc import Collection, Iterable

from workers.ledger import ImageRecord, State
from workers.policy.policy import Policy
from workers.policy.rule import Rule
from workers.reference import Reference


def surplus(
    records: Iterable[ImageRecord], policy: Policy, listed: Collection[str]
) -> dict[str, Rule]:
    """Return the references that are not among the newest, with their rules.

    A tag is as new as what it leads to: one that moves is new again.

    Args:
        records: all that are known of one image repository.
        policy: only rules with ``keep.newest`` make any surplus. Each counts its own.
        listed: the tags that the registry has, all of them; of others it is another
            question whether they go.
    """
    by_rule: dict[int, tuple[Rule, list[ImageRecord]]] = {}
    for record in records:
        if record.live_digest is None:
            continue
        reference = Reference.parse(record.reference)
        rule = policy.decide(reference).rule
        if rule is None or rule.keep is None or rule.keep.newest is None:
            continue
        if reference.tag in listed:
            by_rule.setdefault(rule.number, (rule, []))[1].append(record)
    return {
        record.reference: rule
        for rule, live in by_rule.values()
        if rule.keep is not None
        for record in sorted(live, key=_age)[rule.keep.newest :]
        if _may_go(record)
    }


def _age(record: ImageRecord) -> tuple[float, str]:
    """Return what sorts the newest first; the names decide between equals."""
    # What is not known to be old counts as new.
    since = float("inf") if record.moved_since is None else record.moved_since
    return (-since, record.reference)


def _may_go(record: ImageRecord) -> bool:
    """Whether a tag is settled, and nobody went back to it by hand."""
    return record.state is State.LIVE and record.restored_instead_of is None
