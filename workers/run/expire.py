"""Removing a tag because its rule keeps only the newest ones."""

import time

from workers.policy.keeping import expired
from workers.run.heartbeat import Ending
from workers.run.publish import publish
from workers.run.remove import remove
from workers.run.run import Run


def expire(run: Run) -> Ending:
    """Remove a tag that is more than its rule keeps; if it is not, see to it as ever.

    Whoever asked for this may have been overtaken by a push, or by another policy; so
    all of it is asked again, the registry's list of tags included.

    Raises:
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, reference = run.services, run.reference
    ledger, policy = services.front.ledger, services.policy.current()
    neighbours = [
        name
        for name in ledger.references()
        if name.rpartition(":")[0] == reference.name
    ]
    listed = set(services.registry.tags(reference))
    due = expired(ledger.records(neighbours), policy, listed, now=time.time())
    rule = due.get(str(reference))
    if rule is None or rule.keep is None:
        return publish(run)
    return remove(run, f"{rule} keeps the newest {rule.keep.newest} tags only")
