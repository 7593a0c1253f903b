"""How often the policy wants the registries to be asked. Pure."""

from workers.policy.policy import Policy
from workers.policy.rule import Rule

RECONCILER = "reconcile"
"""Name of the source by which the ledger knows what such a look has found."""

# For rules that keep only some, and do not say how often to look.
_KEEP_EVERY_SECONDS = 3600
# So many looks may be missed before anybody is told.
_MISSED_LOOKS = 3
_LEAST_PATIENCE_SECONDS = 600


def every_seconds(rule: Rule) -> int:
    """Return how often image repositories of a rule are looked at."""
    return _KEEP_EVERY_SECONDS if rule.watch is None else rule.watch.every_seconds


def overdue(policy: Policy, last_asked: float | None, *, now: float) -> str | None:
    """Say that the policy wants the registries to be asked, and nobody does.

    Args:
        policy: in force.
        last_asked: when they were, in seconds; None: never.
        now: seconds since the epoch.
    """
    intervals = [every_seconds(rule) for rule in policy.rules if rule.watch]
    if not intervals:
        return None
    patience = max(_MISSED_LOOKS * min(intervals), _LEAST_PATIENCE_SECONDS)
    if last_asked is not None and now < last_asked + patience:
        return None
    when = "never yet" if last_asked is None else "not for long"
    return (
        f"the policy watches registries, which were asked {when}: does"
        " `cvmfs-webhook reconcile` run?"
    )
