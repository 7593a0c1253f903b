"""What is wrong around the queue: said at every start, on the page and to probes.

``problem`` is why what is accepted now would not be kept; then nothing is. Everything
else is a warning: what is accepted is kept, and waits until somebody mends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from workers.config import Config
from workers.errors import TransientError
from workers.jobqueue import JobQueue
from workers.ledger import Ledger, LedgerUnavailable, Looks
from workers.policy import PolicyFile
from workers.policy.watching import overdue
from workers.wiring import Front

WORKER, RECONCILER = "worker", "reconcile"
"""Who is missed; the names of their commands."""

_NEGLECTED_SECONDS = 60.0
NO_WORKER = "no worker is alive: start `cvmfs-webhook worker`"


class NoWorker(TransientError):
    """Nobody does what waits."""


def check_workers(ledger: Ledger) -> None:
    """Go on waiting only if somebody looks after what waits.

    Raises:
        NoWorker: nobody does, for long.
        LedgerUnavailable: that cannot be told.
    """
    if ledger.neglected_seconds() > _NEGLECTED_SECONDS:
        raise NoWorker(f"{NO_WORKER}; what was asked for is kept, and done then")


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """Looks at Redis, and at who works with it.

    Attributes:
        ledger: what is owed.
        looks: when the registries were asked.
        queue: where workers are registered.
        policy: says whether they are to be asked.
        is_trusted: the operator answers for Redis (``queue.durability``).
    """

    ledger: Ledger
    looks: Looks
    queue: JobQueue
    policy: PolicyFile
    is_trusted: bool

    @classmethod
    def of(cls, config: Config, front: Front, policy: PolicyFile) -> Self:
        """Look through the connections of ``front``."""
        looks = Looks(front.connection, front.ledger.now)
        is_trusted = config.queue.durability == "trusted"
        return cls(front.ledger, looks, front.queue, policy, is_trusted)

    def problem(self) -> str | None:
        """Say in one line why nothing can be kept; None while all is well."""
        refusal = self.ledger.write_problem()
        if refusal is not None:
            return f"Redis: {refusal}"
        return None if self.is_trusted else self.ledger.durability_problem()

    def warnings(self) -> Mapping[str, str]:
        """Say in one line each who is missed, by name; nothing that is not for all.

        Nothing where Redis cannot be asked, which others say.
        """
        found = {}
        try:
            neglected = self.ledger.neglected_seconds()
            last_asked, now = self.looks.last_asked(), self.ledger.now()
        except LedgerUnavailable:
            return {}
        if neglected > _NEGLECTED_SECONDS:
            found[WORKER] = (
                f"work has waited for {neglected:.0f} s and no worker looks after it:"
                " does `cvmfs-webhook worker` run?"
            )
        missed = overdue(self.policy.current(), last_asked, now=now)
        if missed is not None:
            found[RECONCILER] = missed
        return found
