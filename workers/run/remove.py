"""Taking a name away: because somebody says so, or its registry has it no more."""

import time

from workers.errors import PermanentError, TransientError, WorkerError
from workers.formats.history import removals
from workers.formats.paths import image_path, metadata_path
from workers.formats.podman import forget_podman
from workers.formats.receipt import digest_of, platforms_of, read_receipt, remember
from workers.formats.thin import delete_thin, thin_names
from workers.ledger import Outcome, State
from workers.policy import Rule
from workers.publishing.plan import Plan, Step
from workers.registry import ImageNotFound
from workers.run.heartbeat import Ending
from workers.run.retrying import is_last
from workers.run.run import Run


class TagAppears(TransientError):
    """A registry that contradicts itself; it may be in the middle of something."""


def remove(run: Run, reason: str) -> Ending:
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
    told = WorkerError if is_last(run.lease.attempt) else PermanentError
    stays: list[str] = []
    for fqrn, publisher in services.publishers.items():
        live = read_receipt(publisher, reference)
        places = (image_path(reference), metadata_path(reference))
        if not any(publisher.has(place) for place in places):
            continue
        run.heartbeat.stage(State.PUBLISHING)
        run.heartbeat.check()
        # Before the receipt goes, which alone says where it is: what fails here is then
        # found again by the next try.
        outside = run.outside(fqrn)
        stays += delete_thin(outside, thin_names(outside, live), told=told)
        steps: tuple[Step, ...] = (
            *remember(publisher, reference, live),
            *forget_podman(reference, live),
            *removals(reference, platforms_of(live)),
        )
        plan = Plan(str(reference), steps)
        publication = publisher.publish([plan], run.fence())
        digest, revision = digest_of(live) or digest, publication.revision
    return Ending(Outcome.REMOVED, digest, "; ".join((reason, *stays)), revision)


def gone(run: Run, rule: Rule, error: ImageNotFound) -> Ending:
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
    is_live = known is not None and known.live_digest and known.held is None
    if rule.keep is None or known is None or not is_live:
        raise error
    if reference.tag in set(run.services.registry.tags(reference)):
        raise TagAppears(f"{reference}: the registry lists the tag and has no image")
    since = known.gone_since or now
    until = since + rule.keep.grace_seconds
    if now >= until:
        return remove(run, f"its registry has it no more, and {rule} says keep")
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
    reason = f"its registry has it no more; removed on {day} unless it comes back"
    return Ending(Outcome.FAILED, None, reason, next_try=until + 1, gone_since=since)
