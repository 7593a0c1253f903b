"""Removing a tag because its rule keeps only the newest ones."""

from workers.ledger import RunResult
from workers.policy.keeping import surplus
from workers.registry import ImageNotFound
from workers.run.publish import publish
from workers.run.remove import remove
from workers.run.run import Run


def expire(run: Run) -> RunResult:
    """Remove a tag that is more than its rule keeps; if it is not, see to it as ever.

    Whoever asked for this saw to it that its grace time is over; meanwhile there may
    have been a push or another policy. So all else is asked again, the registry's list
    of tags and what this one leads to included.

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
    records = {record.reference: record for record in ledger.records(neighbours)}
    rule = surplus(records.values(), policy, listed).get(str(reference))
    if rule is None or rule.keep is None:
        return publish(run)
    try:
        upstream = services.registry.resolve(reference).digest
    except ImageNotFound:
        return publish(run)
    if upstream != records[str(reference)].digest:
        return publish(run)
    return remove(run, f"{rule} keeps the newest {rule.keep.newest} tags only")
