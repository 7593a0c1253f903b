"""A person asks for an image: the same policy, ledger and queue as for a push."""

import logging
from dataclasses import dataclass

from workers.errors import WorkerError
from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.policy import Decision, PolicyFile
from workers.reference import InvalidReference, Reference

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishRequests:
    """Where requests by hand go.

    Attributes:
        policy: decides, exactly as it does about pushes.
        ledger: keeps what was asked for.
        queue: carries it to a worker.
    """

    policy: PolicyFile
    ledger: Ledger
    queue: JobQueue

    def submit(self, reference: Reference, *, forced: bool = False) -> Decision:
        """Have a reference looked at and published, if the policy allows it.

        Args:
            reference: with a tag; a digest alone has no place in the repository.
            forced: rebuild it even if it is unchanged.

        Raises:
            InvalidReference: it has no tag.
            LedgerUnavailable: nothing was asked for.
        """
        if reference.tag is None or reference.digest is not None:
            raise InvalidReference(
                "reference", str(reference), "give registry/repository:tag, no digest"
            )
        decision = self.policy.current().decide(reference)
        if decision.allowed:
            accepted = self.ledger.request(
                str(reference), source="operator", forced=forced
            )
            try:
                self.queue.enqueue_accepted([accepted])
            except WorkerError as error:
                # It is kept and owed; the workers' sweep finds it within seconds.
                log.warning("reference=%s not queued yet: %s", reference, error)
        return decision
