"""One run over one reference, and what all of its parts need to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workers.formats.history import MANIFEST
from workers.formats.paths import metadata_path
from workers.formats.receipt import read_receipt, thin_of
from workers.formats.shown_paths import places
from workers.formats.thin import Outside
from workers.images.manifest import parse_manifest
from workers.ledger import Lease, Outcome
from workers.policy import Rule
from workers.publishing.plan import Fence
from workers.publishing.ready_queue import fence_token
from workers.reference import Reference
from workers.run.heartbeat import Ending, Heartbeat
from workers.wiring import Services


@dataclass(slots=True)
class Run:
    """One run over one reference, from the lease to how it ended.

    Attributes:
        services: everything outside.
        reference: with a tag.
        lease: the right to work on it.
        heartbeat: keeps the lease, and knows whether the work is still wanted.
        digest: of the image, as soon as the registry gave it.
    """

    services: Services
    reference: Reference
    lease: Lease
    heartbeat: Heartbeat
    digest: str | None = None

    @property
    def pinned(self) -> Reference:
        """The image that the registry gave, which no push changes any more."""
        return replace(self.reference, tag=None, digest=self.digest)

    def fence(self) -> Fence:
        """Return what must hold when something is published."""
        return Fence(self.heartbeat.check, fence_token(self.lease))

    def outside(self, fqrn: str) -> Outside:
        """Return what lies outside one of the repositories for the name."""
        services = self.services
        return Outside(
            self.reference,
            fqrn,
            services.publishers[fqrn],
            services.registry,
            services.config.repositories[fqrn].thin,
            self.heartbeat.check,
            self.fence(),
        )

    def places(self, rule: Rule) -> dict[str, str]:
        """Return where the image is, once it is published as its rule says."""
        _, publisher = self.services.publisher(rule)
        thin = config_digest = None
        if "thin" in rule.formats:
            thin = thin_of(read_receipt(publisher, self.reference))
        if "image" in rule.formats:
            path = metadata_path(self.reference) + b"/" + MANIFEST
            if manifest := publisher.read(path):
                config_digest = parse_manifest(manifest).config.digest
        return places(
            self.reference,
            rule.formats,
            config_digest=config_digest,
            thin=thin,
        )

    def unchanged(self, rule: Rule, told: Sequence[str] = ()) -> Ending:
        """Return the end of a run that found its image live; ``told`` is said of it."""
        fqrn, publisher = self.services.publisher(rule)
        known = self.services.front.ledger.image(str(self.reference))
        is_known = known is not None and known.live_digest == self.digest
        # Published by a run that was killed before it could say so: by then it was in.
        revision = None if is_known else publisher.revision()
        return Ending(
            Outcome.UNCHANGED,
            self.digest,
            "; ".join(told) or None,
            revision=revision,
            repository=fqrn,
            places=self.places(rule),
        )
