"""The story of a push: what the registry has for a name becomes live."""

from dataclasses import replace

from workers.formats.documents import read_receipt
from workers.formats.formats import noted, settle
from workers.images.platforms import Platform
from workers.ledger import RunResult, State
from workers.reference import Reference
from workers.registry import ImageNotFound, RegistryClient
from workers.run.admitting import (
    check_labels,
    check_name,
    check_private,
    check_withheld,
    decide,
    is_public,
)
from workers.run.assemble import assemble, receipt_for
from workers.run.known import KnownFirst
from workers.run.remove import gone
from workers.run.resolving import (
    Incomplete,
    fetch_images,
    resolve_digest,
    when_complete,
)
from workers.run.results import published, unchanged
from workers.run.run import Run


def publish(run: Run) -> RunResult:
    """Publish what the registry has, unless that is live already.

    Raises:
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, reference, lease = run.services, run.reference, run.lease
    client, heartbeat = services.registry, run.heartbeat
    rule = decide(services.policy, reference)
    fqrn, publisher = services.publisher(rule)
    check_name(reference)

    heartbeat.stage(State.RESOLVING)
    # What came with an order is no sender's word on what the registry will have.
    hint = lease.hint if lease.order is None else None
    try:
        descriptor = resolve_digest(
            client, reference, hint, heartbeat.look, age=lease.hint_age
        )
    except ImageNotFound as error:
        return gone(run, rule, error)
    run.digest = descriptor.digest
    heartbeat.stage(State.FETCHING, digest=run.digest)
    heartbeat.watch(lambda: _has_still(client, reference, descriptor.digest))
    platforms = [Platform.parse(platform) for platform in rule.platforms]
    live, outside = read_receipt(publisher.published(), reference), run.outside(fqrn)
    receipt = noted(receipt_for(run.digest, platforms, rule), live, outside)
    if live == receipt and not lease.forced:
        return unchanged(run, rule, settle(outside, live))
    if live.restored_instead_of == run.digest and not lease.forced:
        instead_of, run.digest = run.digest, live.digest
        result = unchanged(run, rule, settle(outside, live))
        return replace(result, restored_instead_of=instead_of)
    check_private(client, reference, rule)
    if live.digest is None:  # else CVMFS has shown the name already
        run.is_public = rule.private == "refuse" or is_public(client, reference)
        heartbeat.stage(State.FETCHING, is_public=run.is_public)
    known = KnownFirst(publisher.published(), reference, live)
    images, missing = when_complete(
        lambda: fetch_images(client, reference, descriptor, platforms, known),
        hint,
        heartbeat.look,
        age=lease.hint_age,
    )
    for image in images:
        check_labels(image, rule)
    # Of what will be published: the tag may have moved meanwhile.
    check_withheld(client, run.pinned, images, rule)
    heartbeat.check_newest()
    try:
        publication, receipt = assemble(run, rule, images, receipt, live)
    except ImageNotFound as error:  # a layer
        raise Incomplete(error) from error
    settled = settle(outside, receipt)
    # A layer on its own and as a part of the whole loses the same.
    told = list(dict.fromkeys((*publication.losses, *missing, *settled)))
    result = published(run, rule, publication, run.digest, told)
    # What stays outside the repository is named with what its registry says.
    return replace(result, is_reason_open=not settled)


def _has_still(client: RegistryClient, reference: Reference, digest: str) -> bool:
    """Tell whether a tag still leads to a digest; raises WorkerError."""
    try:
        return client.resolve(reference).digest == digest
    except ImageNotFound:
        return False
