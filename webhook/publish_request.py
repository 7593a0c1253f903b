"""A person asks for an image: the same policy, ledger and queue as for a push."""

from dataclasses import dataclass

from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.policy import Decision, PolicyFile
from workers.reference import InvalidReference, Reference


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
            # Should this fail, the sweep finds the job that is owed.
            self.queue.enqueue_accepted([accepted])
        return decision
