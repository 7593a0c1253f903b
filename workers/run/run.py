"""One run over one reference, and what all of its parts need to know of it."""

from dataclasses import dataclass, replace

from workers.layout.names import image_path
from workers.ledger import Lease, Outcome
from workers.plan import Fence, Publisher
from workers.policy import Rule
from workers.ready_queue import fence_token
from workers.reference import Reference
from workers.run.heartbeat import Ending, Heartbeat
from workers.services import Services


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

    def path(self, rule: Rule) -> str | None:
        """Return where the link of the image is, if its rule wants one."""
        return image_path(self.reference).decode() if "flat" in rule.formats else None

    def unchanged(self, fqrn: str, publisher: Publisher, path: str | None) -> Ending:
        """Return the end of a run that found its image live."""
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
