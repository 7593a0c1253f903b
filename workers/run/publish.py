"""The story of a push: what the registry has for a name becomes live."""

from dataclasses import replace

from workers.formats.receipt import HELD, digest_of, read_receipt
from workers.formats.thin import keep_thin, thin_entries
from workers.images.platforms import Platform
from workers.ledger import Outcome, State
from workers.registry import ImageNotFound
from workers.run.admitting import check_labels, check_private, decide
from workers.run.assemble import place, receipt_for
from workers.run.heartbeat import Ending
from workers.run.remove import gone
from workers.run.resolving import fetch_images, resolve_digest
from workers.run.run import Run


def publish(run: Run) -> Ending:
    """Publish what the registry has, unless that is live already.

    Raises:
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, reference, lease = run.services, run.reference, run.lease
    client, heartbeat = services.registry, run.heartbeat
    rule = decide(services.policy, reference)
    fqrn, publisher = services.publisher(rule)

    heartbeat.stage(State.RESOLVING)
    # What came with an order is no sender's word on what the registry will have.
    hint = lease.hint if lease.order is None else None
    try:
        descriptor = resolve_digest(client, reference, hint, heartbeat.look)
    except ImageNotFound as error:
        return gone(run, rule, error)
    run.digest = descriptor.digest
    heartbeat.stage(State.FETCHING, digest=run.digest)
    platforms = [Platform.parse(platform) for platform in rule.platforms]
    receipt = receipt_for(run.digest, platforms, rule)
    live = read_receipt(publisher, reference)
    receipt |= thin_entries(run.outside(fqrn), rule, live)
    if live == receipt and not lease.forced:
        told = keep_thin(run.outside(fqrn), live)
        return run.unchanged(rule, told)
    if live.get(HELD) == run.digest and not lease.forced:
        held, run.digest = run.digest, digest_of(live)
        told = keep_thin(run.outside(fqrn), live)
        return replace(run.unchanged(rule, told), held=held)
    check_private(client, reference, rule)
    images, missing = fetch_images(client, reference, descriptor, platforms)
    # Again, of what will be published: the tag may have moved meanwhile.
    check_private(client, run.pinned, rule)
    for image in images:
        check_labels(image, rule)
    heartbeat.check()
    publication = place(run, rule, images, receipt, live)
    told = keep_thin(run.outside(fqrn), receipt)
    return Ending(
        Outcome.PUBLISHED,
        run.digest,
        # A layer on its own and as a part of the whole loses the same.
        "; ".join(dict.fromkeys((*publication.losses, *missing, *told))) or None,
        publication.revision,
        publication.repository,
        run.places(rule),
    )
