"""The ledger's methods: each change is one atomic step in Redis."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import redis

from workers.errors import TransientError
from workers.ledger.records import (
    Accepted,
    Delivery,
    DeliveryRecord,
    Event,
    Hint,
    ImagePage,
    ImageRecord,
    Lease,
    Outcome,
    Progress,
    RunRecord,
    State,
    Wanted,
)


class LedgerUnavailable(TransientError):
    """Redis cannot be reached, or cannot keep what it is given."""


class Ledger:
    """Our records in Redis: the truth of states, owed work and history.

    Every method raises LedgerUnavailable when Redis does not answer as it should.
    """

    def __init__(
        self, connection: redis.Redis, *, clock: Callable[[], float] | None = None
    ) -> None:
        """Use ``connection`` (any decoding).

        Args:
            connection: to the Redis that holds the ledger.
            clock: None takes Redis's own clock, on which all machines agree.
        """
        raise NotImplementedError

    # What the front says.

    def accept(self, delivery: Delivery, wanted: Sequence[Wanted]) -> list[Accepted]:
        """Record a delivery and what it wants, in one atomic step, kept on return."""
        raise NotImplementedError

    def request(
        self,
        reference: str,
        *,
        source: str,
        forced: bool = False,
        hint: Hint | None = None,
    ) -> Accepted:
        """Want a reference without a delivery: operator, command line, reconciler."""
        raise NotImplementedError

    # What the front asks.

    def image(self, reference: str) -> ImageRecord | None:
        """Return what is known of a reference."""
        raise NotImplementedError

    def images(
        self,
        offset: int = 0,
        limit: int = 100,
        *,
        state: State | None = None,
        search: str | None = None,
    ) -> ImagePage:
        """List references, the newest change first; ``search`` is a part of a name."""
        raise NotImplementedError

    def runs(self, reference: str, limit: int = 50) -> list[RunRecord]:
        """Return the last finished runs of a reference, newest first."""
        raise NotImplementedError

    def deliveries(self, limit: int = 100) -> list[DeliveryRecord]:
        """Return the last deliveries, newest first."""
        raise NotImplementedError

    def delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return one delivery if it is still kept."""
        raise NotImplementedError

    def events(self, after: str | None = None, limit: int = 100) -> list[Event]:
        """Return changes, oldest first: the ones after ``after``, or else the last."""
        raise NotImplementedError

    def counts(self) -> dict[State, int]:
        """Return how many references are in each state; every state is there."""
        raise NotImplementedError

    def durability_problem(self) -> str | None:
        """Say why what Redis accepts could be lost, in one line; None when it is safe.

        Never raises: a Redis that cannot be reached is a problem too.
        """
        raise NotImplementedError

    # What a job says.

    def begin(self, reference: str, *, worker: str) -> Lease | None:
        """Take the lease of a reference for a run.

        None: another job holds it and will look again, or nothing is owed.
        """
        raise NotImplementedError

    def keep_alive(self, lease: Lease) -> bool:
        """Prolong a lease; False when it is lost and the run must stop."""
        raise NotImplementedError

    def stage(
        self,
        lease: Lease,
        state: State,
        *,
        digest: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Say that the run has entered a stage; ``digest`` once the registry gave it."""
        raise NotImplementedError

    def progress(self, lease: Lease, progress: Progress) -> None:
        """Say how far the run is. Not an event; call it at most once a second."""
        raise NotImplementedError

    def is_overtaken(self, lease: Lease) -> bool:
        """Whether the run should stop before it publishes.

        True when the reference was pushed again, unless two runs in a row were stopped
        so; and when the lease is lost.
        """
        raise NotImplementedError

    def finish(
        self,
        lease: Lease,
        outcome: Outcome,
        *,
        reason: str | None = None,
        digest: str | None = None,
        live_digest: str | None = None,
        revision: int | None = None,
        repository: str | None = None,
        path: str | None = None,
        next_try: float | None = None,
    ) -> Accepted | None:
        """End the run and give the lease back.

        Returns:
            A job to enqueue at once, when the reference was wanted again meanwhile.
        """
        raise NotImplementedError

    def release(self, lease: Lease) -> Accepted | None:
        """Give the lease back without an outcome: the worker is being shut down."""
        raise NotImplementedError

    # What keeps promises when processes die.

    def abandon(self, reference: str, *, worker: str) -> Accepted | None:
        """Say that the process ``worker`` is dead: its lease ends at once.

        Returns:
            A job to enqueue at once, if the reference is still owed one.
        """
        raise NotImplementedError

    def owed(self, queued_ids: AbstractSet[str]) -> list[Accepted]:
        """Return jobs to enqueue: what is owed and due, and nobody carries.

        Args:
            queued_ids: the ids of all jobs that wait in the queue, read just before.
        """
        raise NotImplementedError

    def next_due(self) -> float | None:
        """Return in how many seconds ``owed`` has something to look at; None: nothing."""
        raise NotImplementedError
