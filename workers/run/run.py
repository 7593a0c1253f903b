"""One run over one reference, and what all of its parts need to know of it."""

from dataclasses import dataclass, replace

from workers.formats.format import Outside
from workers.ledger import Lease
from workers.publishing.publisher import Fence
from workers.publishing.ready_queue import fence_token
from workers.reference import Reference
from workers.run.heartbeat import Heartbeat
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
        is_public: whether the registry lets a client without credentials have it, as
            soon as it was asked.
    """

    services: Services
    reference: Reference
    lease: Lease
    heartbeat: Heartbeat
    digest: str | None = None
    is_public: bool | None = None

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
