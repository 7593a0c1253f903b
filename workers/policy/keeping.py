"""Which tags are more than their rules keep. Pure."""

from collections.abc import Collection, Iterable, Mapping

from workers.ledger import ImageRecord, State
from workers.policy.policy import Policy
from workers.policy.rule import Rule
from workers.reference import Reference


def expired(
    records: Iterable[ImageRecord],
    policy: Policy,
    listed: Collection[str],
    *,
    now: float,
) -> dict[str, Rule]:
    """Return the references that have to go, with the rules that say so.

    Args:
        records: all that are known of one image repository.
        policy: only rules with ``keep.newest`` make any go. Each counts its own tags.
        listed: the tags that the registry has, all of them; of others it is another
            question whether they go.
        now: seconds since the epoch.
    """
    rules: dict[int, Rule] = {}
    since: dict[int, dict[str, float]] = {}
    settled = set()
    for record in records:
        if record.live_digest is None:
            continue
        reference = Reference.parse(record.reference)
        rule = policy.decide(reference).rule
        if rule is None or rule.keep is None or reference.tag not in listed:
            continue
        rules[rule.number] = rule
        # Of what is not known to be old nothing is removed.
        live_since = record.live_since or now
        since.setdefault(rule.number, {})[record.reference] = live_since
        if record.state is State.LIVE:
            settled.add(record.reference)
    return {
        name: rule
        for number, rule in rules.items()
        for name, surplus_since in _surplus_of(rule, since[number]).items()
        if name in settled and now >= surplus_since
    }


def _surplus_of(rule: Rule, since: Mapping[str, float]) -> dict[str, float]:
    """Return from when on surplus tags may go, their grace time over."""
    keep = rule.keep
    if keep is None or keep.newest is None:
        return {}
    return {
        name: moment + keep.grace_seconds
        for name, moment in surplus(since, keep.newest).items()
    }


def surplus(since: Mapping[str, float], newest: int) -> dict[str, float]:
    """Return the tags that are not among the newest, and from when on they were not.

    A tag is as new as what it leads to: one that moves is new again. From when on a tag
    is surplus is told by the others alone: from the moment at which ``newest`` of them
    were newer. Where those have moved since, that is later than it was, never earlier.

    Args:
        since: when each tag of one image repository went live; seconds.
        newest: how many are kept, at least 1.
    """
    # Of tags that went live at one moment the names decide, so that each has its place.
    order = sorted(since, key=lambda tag: (since[tag], tag))
    return {
        tag: since[order[place + newest]]
        for place, tag in enumerate(order[: max(len(order) - newest, 0)])
    }
