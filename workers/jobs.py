"""The story of one job: from a reference that is owed work to a new revision.

Reads top to bottom: ``run`` is what the queue calls; ``run_job`` takes the lease and
tells the ledger how it ended; ``_Run._publish`` is the story itself. Whether a retry
would help is asked in ``retrying``.

Killed at any instruction, nothing is lost: what was said of the work is in the ledger,
what was stored is found again, and what was published is recognised by its receipt.
"""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from workers.admitting import (
    Refused,
    check_labels,
    check_private,
    check_publisher,
    decide,
)
from workers.config import Config, load_config
from workers.converting import Shelf, convert, no_layers, published_layers
from workers.errors import PermanentError, TransientError, WorkerError
from workers.exporting.squashed_image import squashed_image
from workers.exporting.squashfs import require_program
from workers.heartbeat import Ending, Heartbeat, LeaseLost, Overtaken
from workers.held import is_verified, relied_on, wanted
from workers.images.manifest import Platform
from workers.jobqueue import JOB_SECONDS, OutOfTime, worker_name
from workers.layout.flat import FlatImage, Placement, plan_flat
from workers.layout.former import removals
from workers.layout.names import image_path, metadata_path
from workers.ledger import Lease, LedgerUnavailable, Outcome, State, orders
from workers.plan import Fence, Plan, Publication, Publisher, RequireAt, Step, TreeAt
from workers.podman_images import forget_podman, plan_podman
from workers.policy import PolicyFile, Rule
from workers.ready_queue import fence_token
from workers.receipts import (
    HELD,
    Receipt,
    digest_of,
    platforms_of,
    read_receipt,
    receipt_bytes,
    remember,
    remembered,
)
from workers.reference import Reference
from workers.registry import ImageNotFound
from workers.resolving import ResolvedImage, fetch_images, resolve_digest
from workers.retrying import after_error, after_mistake
from workers.services import Services
from workers.thin_images import keep_thin

log = logging.getLogger(__name__)

# Raised when what we write for the same image changes; what is live is then rebuilt.
CONVERTER = 1


class TagAppears(TransientError):
    """A registry that contradicts itself; it may be in the middle of something."""


class NotRestorable(PermanentError):
    """What was live once can be had from nowhere any more."""


def run(reference: str) -> str:
    """Work off one reference; the function that jobs in the queue name.

    Returns:
        One line for RQ's own pages; the ledger has the truth.
    """
    parsed = Reference.parse(reference)
    try:
        config, policy = _standing(os.environ["CVMFS_WEBHOOK_CONFIG"])
        with Services.open(config) as services:
            return run_job(replace(services, policy=policy), parsed)
    except TransientError as error:
        # What was done is not lost: it is found again by the run that the sweep starts.
        log.warning("reference=%s is left to the sweep: %s", reference, error)
        return f"left to the sweep: {error}"


def prepare() -> None:
    """Read what jobs need, in the worker, before it forks a process for each of them.

    So a job works by the configuration as the worker found it, and by the last good
    policy, while the files are being edited.
    """
    _, policy = _standing(os.environ["CVMFS_WEBHOOK_CONFIG"])
    policy.current()


@cache
def _standing(path: str) -> tuple[Config, PolicyFile]:
    config = load_config(Path(path), os.environ)
    return config, PolicyFile(config.policy)


def run_job(services: Services, reference: Reference) -> str:
    """Take the lease of a reference, do what is owed, and say how it went.

    Raises:
        LedgerUnavailable: it was away for too long; the work is still owed.
    """
    ledger = services.front.ledger
    lease = ledger.begin(str(reference), worker=worker_name())
    if lease is None:
        return "nothing is owed, or another worker has it"
    with Heartbeat(ledger, lease) as heartbeat:
        try:
            ending = _Run(services, reference, lease, heartbeat).end()
        except LeaseLost:
            log.warning("reference=%s another worker took over", reference)
            return "another worker took over"
        again = heartbeat.finish(ending)
    log.info(
        "reference=%s outcome=%s digest=%s revision=%s reason=%s",
        reference,
        ending.outcome,
        ending.digest,
        ending.revision,
        ending.reason,
    )
    if again is not None:
        try:
            services.front.queue.enqueue_accepted([again])
        except LedgerUnavailable as error:
            log.warning("reference=%s is left to the sweep: %s", reference, error)
    return f"{ending.outcome}: {ending.reason or ending.digest}"


@dataclass(slots=True)
class _Run:
    """One run over one reference, from the lease to how it ended."""

    services: Services
    reference: Reference
    lease: Lease
    heartbeat: Heartbeat
    digest: str | None = None  # as soon as the registry gave it

    def end(self) -> Ending:
        """Do the work; turn whatever happens into an ending.

        Raises:
            LeaseLost: nothing that we say counts any more.
            LedgerUnavailable: there is nobody to say it to.
        """
        try:
            return self._answer()
        except (LeaseLost, LedgerUnavailable):
            raise
        except Overtaken:
            reason = "a newer push was waiting"
            return Ending(Outcome.SUPERSEDED, self.digest, reason)
        except Refused as error:
            return Ending(Outcome.REFUSED, self.digest, str(error))
        except WorkerError as error:
            return after_error(error, self.digest, self.lease.attempt)
        except OutOfTime:
            hours = JOB_SECONDS // 3600
            reason = f"it took longer than {hours} hours; push a smaller image"
            return Ending(Outcome.FAILED, self.digest, reason)
        except Exception as error:  # a mistake of ours must not lose the image
            log.exception("reference=%s", self.reference)
            kind = type(error).__name__
            reason = f"internal error ({kind}); the worker's log has more"
            return after_mistake(reason, self.digest, self.lease.attempt)

    def _answer(self) -> Ending:
        if self.lease.order == orders.REMOVE:
            return self._remove("removed by hand")
        digest = orders.restored_digest(self.lease.order)
        return self._publish() if digest is None else self._restore(digest)

    def _publish(self) -> Ending:
        services, reference, lease = self.services, self.reference, self.lease
        client, heartbeat = services.registry, self.heartbeat
        rule = decide(services.policy, reference)
        fqrn, publisher = services.publisher(rule)
        has_flat = "flat" in rule.formats
        path = image_path(reference).decode() if has_flat else None

        heartbeat.stage(State.RESOLVING)
        hint = None if lease.order == orders.LOOK else lease.hint
        try:
            descriptor = resolve_digest(client, reference, hint, heartbeat.look)
        except ImageNotFound as error:
            return self._gone(rule, error)
        self.digest = descriptor.digest
        heartbeat.stage(State.FETCHING, digest=self.digest)
        platforms = [Platform.parse(platform) for platform in rule.platforms]
        receipt = _receipt(self.digest, platforms, rule)
        live = read_receipt(publisher, reference)
        if live == receipt and not lease.forced:
            self._keep_thin(rule)
            return self._unchanged(fqrn, publisher, path)
        if live.get(HELD) == self.digest and not lease.forced:
            held, self.digest = self.digest, digest_of(live)
            return replace(self._unchanged(fqrn, publisher, path), held=held)
        check_private(client, reference, rule)
        images, missing = fetch_images(client, reference, descriptor, platforms)
        # Again, of what will be published: the tag may have moved meanwhile.
        pinned = replace(reference, tag=None, digest=self.digest)
        check_private(client, pinned, rule)
        for image in images:
            check_labels(image, rule)
        heartbeat.check()
        publication = self._place(rule, images, receipt, live)
        self._keep_thin(rule)
        return Ending(
            Outcome.PUBLISHED,
            self.digest,
            "; ".join((*publication.losses, *missing)) or None,
            publication.revision,
            publication.repository,
            path,
        )

    def _place(
        self,
        rule: Rule,
        images: Sequence[ResolvedImage],
        receipt: Receipt,
        live: Receipt,
    ) -> Publication:
        """Make what is missing of an image, and lead the name to it.

        Args:
            rule: that decided.
            images: for each platform that there is.
            receipt: of what is to be live.
            live: of what is.
        """
        services, heartbeat, lease = self.services, self.heartbeat, self.lease
        fqrn, publisher = services.publisher(rule)
        check_publisher(fqrn, publisher, rule)
        if "image" in rule.formats:
            require_program()  # before anything is downloaded
        placement = Placement(
            self.reference,
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
                plan_podman(self.reference, rule, images, trees, publisher, live),
                plan_flat(placement, trees),
            ]
            plans.insert(0, Plan(str(self.reference), tuple(files)))
            # Trees that nobody used may have been removed since they were found.
            new = {tree.path for tree in trees}
            relied = [path for path in relied_on(images, rule) if path not in new]
            plans.insert(0, Plan(str(self.reference), tuple(map(RequireAt, relied))))
            if receipt["digest"] != live.get("digest"):
                steps = tuple(remember(publisher, self.reference, live))
                plans.insert(0, Plan(str(self.reference), steps))
            return publisher.publish(plans, self._fence())

    def _restore(self, digest: str) -> Ending:
        """Publish what was live before; what the registry has waits for a new push."""
        services, reference, heartbeat = self.services, self.reference, self.heartbeat
        rule = decide(services.policy, reference)
        fqrn, publisher = services.publisher(rule)
        path = image_path(reference).decode() if "flat" in rule.formats else None
        heartbeat.stage(State.RESOLVING)
        # What cannot be restored leaves the state as it was.
        self.digest = upstream = self._upstream_digest()
        held = None if upstream == digest else upstream
        platforms = [Platform.parse(platform) for platform in rule.platforms]
        receipt = _receipt(digest, platforms, rule)
        if held is not None:
            receipt[HELD] = held
        live = read_receipt(publisher, reference)
        if live == receipt and not self.lease.forced:
            self.digest = digest
            return replace(self._unchanged(fqrn, publisher, path), held=held)
        heartbeat.stage(State.FETCHING, digest=upstream)
        pinned = replace(reference, tag=None, digest=digest)
        try:
            images = remembered(publisher, reference, digest, platforms)
            if not images:
                descriptor = services.registry.resolve(pinned)
                images, _ = fetch_images(
                    services.registry, reference, descriptor, platforms
                )
            if wanted(images, publisher, rule):
                check_private(services.registry, pinned, rule)
            publication = self._place(rule, images, receipt, live)
        except ImageNotFound as error:
            raise NotRestorable(
                f"{digest[:19]}… cannot be restored: {fqrn} does not hold all of it any"
                f" more and the registry has lost it; push it again ({error})"
            ) from error
        return Ending(
            Outcome.PUBLISHED,
            digest,
            "restored by hand",
            publication.revision,
            publication.repository,
            path,
            held=held,
        )

    def _upstream_digest(self) -> str | None:
        """Return what the registry has, or had when it was last heard of."""
        try:
            return self.services.registry.resolve(self.reference).digest
        except WorkerError as error:
            log.info("reference=%s is restored all the same: %s", self.reference, error)
        known = self.services.front.ledger.image(str(self.reference))
        return None if known is None else known.digest

    def _remove(self, reason: str) -> Ending:
        """Take the name away wherever it is; trees stay, as others may use them."""
        services, reference = self.services, self.reference
        known = services.front.ledger.image(str(reference))
        digest = None if known is None else known.live_digest
        revision = None
        for publisher in services.publishers.values():
            live = read_receipt(publisher, reference)
            places = (image_path(reference), metadata_path(reference))
            if not any(publisher.has(place) for place in places):
                continue
            self.heartbeat.stage(State.PUBLISHING)
            self.heartbeat.check()
            steps: tuple[Step, ...] = (
                *remember(publisher, reference, live),
                *forget_podman(reference, live).steps,
                *removals(reference, platforms_of(live)),
            )
            plan = Plan(str(reference), steps)
            publication = publisher.publish([plan], self._fence())
            digest, revision = digest_of(live) or digest, publication.revision
        return Ending(Outcome.REMOVED, digest, reason, revision)

    def _gone(self, rule: Rule, error: ImageNotFound) -> Ending:
        """Say that the registry has an image no more; remove it if its rule says so.

        Only after the grace time, and only if the registry lists the repository
        completely, without the tag: what it merely hides from us stays.

        Raises:
            ImageNotFound: ``error``; nothing is to be removed.
            WorkerError: the registry does not list its tags.
        """
        reference, now = self.reference, time.time()
        known = self.services.front.ledger.image(str(reference))
        is_live = known is not None and known.live_digest and known.held is None
        if rule.keep is None or known is None or not is_live:
            raise error
        if reference.tag in set(self.services.registry.tags(reference)):
            raise TagAppears(
                f"{reference}: the registry lists the tag and has no image"
            )
        since = known.gone_since or now
        until = since + rule.keep.grace_seconds
        if now >= until:
            return self._remove(f"its registry has it no more, and {rule} says keep")
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
        reason = f"its registry has it no more; removed on {day} unless it comes back"
        return Ending(
            Outcome.FAILED, None, reason, next_try=until + 1, gone_since=since
        )

    def _fence(self) -> Fence:
        return Fence(self.heartbeat.check, fence_token(self.lease))

    def _keep_thin(self, rule: Rule) -> None:
        """Push the thin image; should that fail, the next try finds all else done."""
        if "thin" in rule.formats and self.reference.tag is not None:
            services = self.services
            fqrn, publisher = services.publisher(rule)
            template = services.config.repositories[fqrn].thin
            client = services.registry
            keep_thin(client, publisher, fqrn, template, self.reference)

    def _unchanged(self, fqrn: str, publisher: Publisher, path: str | None) -> Ending:
        known = self.services.front.ledger.image(str(self.reference))
        is_known = known is not None and known.live_digest == self.digest
        # Published by a run that was killed before it could say so: by then it was in.
        revision = None if is_known else publisher.revision()
        return Ending(
            Outcome.UNCHANGED,
            self.digest,
            revision=revision,
            repository=fqrn,
            path=path,
        )


def _flat_image(image: ResolvedImage) -> FlatImage:
    return FlatImage(
        image.platform,
        image.manifest.config.digest,
        image.raw_manifest,
        image.raw_config,
    )


def _receipt(digest: str, platforms: Sequence[Platform], rule: Rule) -> Receipt:
    """Return what has to be equal for an image to count as unchanged."""
    return {
        "converter": CONVERTER,
        "digest": digest,
        "formats": sorted(rule.formats),
        "platforms": list(map(str, platforms)),
    }
