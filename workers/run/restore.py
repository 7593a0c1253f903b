"""Going back: what was live under a name before becomes live again."""

import logging
from dataclasses import replace

from workers.errors import PermanentError, WorkerError
from workers.formats.documents import read_receipt
from workers.formats.formats import missing, noted, settle
from workers.formats.history import remembered
from workers.images.platforms import Platform
from workers.ledger import RunResult, State
from workers.reference import InvalidReference, parse_digest
from workers.registry import ImageNotFound
from workers.run.admitting import check_labels, check_withheld, decide
from workers.run.assemble import assemble, receipt_for
from workers.run.known import KnownFirst
from workers.run.resolving import fetch_images
from workers.run.results import published, unchanged
from workers.run.run import Run

log = logging.getLogger(__name__)


class NotRestorable(PermanentError):
    """What was live once can be had from nowhere any more."""


def restore(run: Run, digest: str) -> RunResult:
    """Publish what was live before; what the registry has waits for a new push.

    Raises:
        NotRestorable: neither the repository nor the registry has it.
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, reference, heartbeat = run.services, run.reference, run.heartbeat
    rule = decide(services.policy, reference)
    fqrn, publisher = services.publisher(rule)
    heartbeat.stage(State.RESOLVING)
    # What cannot be restored leaves the state as it was.
    run.digest = upstream = _upstream_digest(run)
    instead_of = None if upstream == digest else upstream
    platforms = [Platform.parse(platform) for platform in rule.platforms]
    tree, outside = publisher.published(), run.outside(fqrn)
    live = read_receipt(tree, reference)
    receipt = replace(
        receipt_for(digest, platforms, rule), restored_instead_of=instead_of
    )
    receipt = noted(receipt, live, outside)
    if live == receipt and not run.lease.forced:
        run.digest = digest
        result = unchanged(run, rule, settle(outside, live))
        return replace(result, restored_instead_of=instead_of)
    heartbeat.stage(State.FETCHING, digest=upstream)
    pinned = replace(reference, tag=None, digest=digest)
    try:
        images = remembered(tree, reference, digest, platforms)
        is_remembered = bool(images)
        if not is_remembered:
            descriptor = services.registry.resolve(pinned)
            known = KnownFirst(tree, reference, live)
            images, _ = fetch_images(
                services.registry, reference, descriptor, platforms, known
            )
        # The order may name what never was live, and the rule may have changed.
        for image in images:
            check_labels(image, rule)
        if not is_remembered or missing(images, tree, rule.formats, rule.limits):
            check_withheld(services.registry, pinned, images, rule)
        publication, receipt = assemble(run, rule, images, receipt, live)
    except ImageNotFound as error:
        raise NotRestorable(
            f"{digest[:19]}… cannot be restored: {fqrn} does not hold all of it any"
            f" more and the registry has lost it; push it again ({error})"
        ) from error
    settled = settle(outside, receipt)
    told = ["restored by hand", *settled]
    result = published(run, rule, publication, digest, told)
    return replace(result, restored_instead_of=instead_of, is_reason_open=not settled)


def _upstream_digest(run: Run) -> str | None:
    """Return what the registry has, or had when it was last heard of."""
    try:
        return run.services.registry.resolve(run.reference).digest
    except WorkerError as error:
        log.debug("reference=%s is restored all the same: %s", run.reference, error)
    known = run.services.front.ledger.image(str(run.reference))
    try:
        # The receipt will say it, and others than we may write into the ledger.
        return None if known is None else parse_digest(known.digest or "")
    except InvalidReference:
        return None
