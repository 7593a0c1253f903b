"""Taking a name away: because somebody says so, or its registry has it no more."""

import time
from collections.abc import Iterator

from workers.errors import ANSWERED, TransientError, WorkerError
from workers.formats import formats
from workers.formats.documents import platform_folders, read_receipt
from workers.formats.history import remember
from workers.formats.paths import image_path, metadata_path
from workers.formats.receipt import Receipt
from workers.ledger import Outcome, RunResult, State
from workers.policy import Rule
from workers.publishing.plan import Plan, RemoveAt, Step
from workers.publishing.publisher import PublishedTree, publish
from workers.reference import Reference
from workers.registry import ImageNotFound
from workers.run.retrying import is_last
from workers.run.run import Run


class TagAppears(TransientError):
    """A registry that contradicts itself; it may be in the middle of something."""


def remove(run: Run, reason: str) -> RunResult:
    """Take the name away wherever it is, with its thin image.

    Trees stay, as others may use them.

    Raises:
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, reference = run.services, run.reference
    known = services.front.ledger.image(str(reference))
    digest = None if known is None else known.live_digest
    revision = None
    # Once nothing is tried again, a dead registry keeps no name in CVMFS either.
    told = WorkerError if is_last(run.lease.attempt) else ANSWERED
    stays: list[str] = []
    for fqrn, publisher in services.publishers.items():
        tree = publisher.published()
        live = read_receipt(tree, reference)
        places = (image_path(reference), metadata_path(reference))
        if all(tree.lookup(place) is None for place in places):
            continue
        run.heartbeat.stage(State.PUBLISHING)
        run.heartbeat.check()
        # Before the receipt goes, which alone says where it is: what fails here is then
        # found again by the next try.
        outside = run.outside(fqrn)
        for each in formats.FORMATS:
            stays += each.retire(outside, live, told)
        plan = Plan(str(reference), tuple(_removal(tree, reference, live)))
        publication = publish(publisher, [plan], run.fence())
        digest, revision = live.digest or digest, publication.revision
    return RunResult(
        Outcome.REMOVED,
        digest,
        "; ".join((reason, *stays)),
        revision=revision,
        is_reason_open=not stays,
    )


def gone(run: Run, rule: Rule, error: ImageNotFound) -> RunResult:
    """Say that the registry has an image no more; remove it if its rule says so.

    Only after the grace time, and only if the registry lists the repository
    completely, without the tag: what it merely hides from us stays.

    Args:
        run: for the name.
        rule: that decided.
        error: what the registry said.

    Raises:
        ImageNotFound: ``error``; nothing is to be removed.
        WorkerError: the registry does not list its tags.
    """
    reference, now = run.reference, run.services.front.ledger.now()
    known = run.services.front.ledger.image(str(reference))
    if rule.keep is None or known is None or known.live_digest is None:
        raise error
    if known.restored_instead_of is not None:
        raise error
    if reference.tag in set(run.services.registry.tags(reference)):
        raise TagAppears(f"{reference}: the registry lists the tag and has no image")
    since = known.gone_since or now
    until = since + rule.keep.grace_seconds
    if now >= until:
        return remove(run, f"its registry has it no more, and {rule} says keep")
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
    reason = f"its registry has it no more; removed on {day} unless it comes back"
    return RunResult(
        Outcome.FAILED,
        None,
        reason,
        next_try=until + 1,
        gone_since=since,
        is_reason_open=True,
    )


def _removal(
    tree: PublishedTree, reference: Reference, live: Receipt
) -> Iterator[Step]:
    """Yield what takes a name away, with all that is said of it."""
    yield from remember(tree, reference, live)
    for each in formats.FORMATS:
        yield from each.withdraw(reference, live.platforms, live)
    folders = platform_folders(reference, live).values()
    for folder in dict.fromkeys((metadata_path(reference), *folders)):
        yield RemoveAt(folder)
