"""Making what is missing of an image, and leading its name to it in one revision."""

from collections.abc import Sequence

from workers.archives.squashfs import require_program
from workers.formats.flat import FlatImage, Placement, plan_flat
from workers.formats.podman import plan_podman
from workers.formats.receipt import Receipt, platforms_of, receipt_bytes, remember
from workers.formats.squashfs import squashed_image
from workers.images.platforms import Platform
from workers.images.resolved import ResolvedImage
from workers.ledger import State
from workers.policy import Rule
from workers.published.reusable import is_verified, relied_on, wanted
from workers.publishing.plan import Plan, Publication, RequireAt, Step, TreeAt
from workers.run.admitting import check_publisher
from workers.run.converting import Shelf, convert, no_layers, published_layers
from workers.run.run import Run

# Raised when what we write for the same image changes; what is live is then rebuilt.
CONVERTER = 2


def receipt_for(digest: str, platforms: Sequence[Platform], rule: Rule) -> Receipt:
    """Return what has to be equal for an image to count as unchanged."""
    return {
        "converter": CONVERTER,
        "digest": digest,
        "formats": sorted(rule.formats),
        "platforms": list(map(str, platforms)),
    }


def place(
    run: Run,
    rule: Rule,
    images: Sequence[ResolvedImage],
    receipt: Receipt,
    live: Receipt,
) -> Publication:
    """Make what is missing of an image, and lead the name to it.

    Args:
        run: for the name.
        rule: that decided.
        images: for each platform that there is.
        receipt: of what is to be live.
        live: of what is.

    Raises:
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, heartbeat, lease = run.services, run.heartbeat, run.lease
    fqrn, publisher = services.publisher(rule)
    check_publisher(fqrn, publisher, rule)
    if "image" in rule.formats:
        require_program()  # before anything is downloaded
    placement = Placement(
        run.reference,
        [_flat_image(image) for image in images],
        receipt_bytes(receipt),
        has_flat="flat" in rule.formats,
        is_multiarch=len(rule.platforms) > 1,
        former=platforms_of(live),
    )
    is_rebuilt = lease.forced or live.get("converter", CONVERTER) != CONVERTER
    missing_here = [] if is_rebuilt else wanted(images, publisher, rule)
    with services.claims.claim(fqrn, missing_here, heartbeat.look):
        trees: list[TreeAt] = []
        files: list[Step] = []
        shelf = Shelf(no_layers if is_rebuilt else published_layers(publisher))
        client, tell = services.registry, heartbeat.tell
        for image in images:
            if is_rebuilt or not is_verified(image, publisher, rule):
                heartbeat.stage(State.CONVERTING)
                made = convert(client, image, publisher, shelf, rule, tell)
                trees += made
                if "image" in rule.formats:
                    digest = image.manifest.config.digest
                    scratch = services.config.state
                    files.append(squashed_image(digest, made, publisher, scratch))
        heartbeat.stage(State.PUBLISHING)
        heartbeat.check()
        plans = [
            plan_podman(run.reference, rule, images, trees, publisher, live),
            plan_flat(placement, trees),
        ]
        plans.insert(0, Plan(str(run.reference), tuple(files)))
        # Trees that nobody used may have been removed since they were found.
        new = {tree.path for tree in trees}
        relied = [path for path in relied_on(images, rule) if path not in new]
        plans.insert(0, Plan(str(run.reference), tuple(map(RequireAt, relied))))
        if receipt["digest"] != live.get("digest"):
            steps = tuple(remember(publisher, run.reference, live))
            plans.insert(0, Plan(str(run.reference), steps))
        return publisher.publish(plans, run.fence())


def _flat_image(image: ResolvedImage) -> FlatImage:
    return FlatImage(
        image.platform,
        image.manifest.config.digest,
        image.raw_manifest,
        image.raw_config,
    )
