"""One run over one reference, and what all of its parts need to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workers.formats.documents import read_manifest, read_receipt
from workers.formats.format import Outside
from workers.formats.formats import shown
from workers.formats.paths import metadata_path
from workers.ledger import Lease, Outcome, RunResult
from workers.policy import Rule
from workers.publishing.publisher import Fence, Publication
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

    def published(
        self, rule: Rule, publication: Publication, digest: str, told: Sequence[str]
    ) -> RunResult:
        """Return the end of a run that made a digest live; ``told`` is said of it."""
        result = RunResult(
            Outcome.PUBLISHED,
            digest,
            "; ".join(told) or None,
            revision=publication.revision,
            repository=publication.repository,
        )
        return self._with_what_is_live(rule, result)

    def unchanged(self, rule: Rule, told: Sequence[str] = ()) -> RunResult:
        """Return the end of a run that found its image live; ``told`` is said of it."""
        fqrn, publisher = self.services.publisher(rule)
        known = self.services.front.ledger.image(str(self.reference))
        is_known = known is not None and known.live_digest == self.digest
        # Published by a run that was killed before it could say so: by then it was in.
        revision = None if is_known else publisher.published().revision
        result = RunResult(
            Outcome.UNCHANGED,
            self.digest,
            "; ".join(told) or None,
            revision=revision,
            repository=fqrn,
        )
        return self._with_what_is_live(rule, result)

    def _with_what_is_live(self, rule: Rule, result: RunResult) -> RunResult:
        """Return a result with what the repository says of the name by now."""
        _, publisher = self.services.publisher(rule)
        tree = publisher.published()
        receipt = read_receipt(tree, self.reference)
        manifest = read_manifest(tree, metadata_path(self.reference))
        if manifest is None:
            return replace(result, places=shown(self.reference, receipt, lambda: None))
        return replace(
            result,
            places=shown(self.reference, receipt, lambda: manifest.config.digest),
            size=sum(layer.size for layer in manifest.layers),
        )
