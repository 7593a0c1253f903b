"""A ledger on a real server, a clock that stands still, and short words for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from tests.support.harness.redis_server import RedisServer
from workers.ledger import (
    Accepted,
    Delivery,
    Hint,
    ImageRecord,
    Lease,
    Ledger,
    LiveImage,
    Outcome,
    RunResult,
    Verdict,
    Wanted,
    orders,
)

REFERENCE = "registry.example.org/atlas/analysis:v1"
REASON = "layer 3 of 7 ends in the middle of 'usr/lib/libLLVM.so'; build it again"
D1, D2, D3 = (f"sha256:{digit * 64}" for digit in "123")


@dataclass
class StoppedClock:
    """Time that passes only when a test says so."""

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time

    def passes(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class LedgerDriver:
    """A ledger under test, with what a job queue beside it would hold."""

    connection: redis.Redis
    clock: StoppedClock = field(default_factory=StoppedClock)
    deliveries: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.connection, clock=self.clock)

    def push(
        self,
        digest: str | None = D1,
        reference: str = REFERENCE,
        *,
        unique_id: str | None = None,
        source: str = "hub",
        time: float | None = None,
    ) -> Accepted:
        """Accept a delivery with one push in it; ``time`` is the sender's."""
        self.deliveries += 1
        sent = self.clock() if time is None else time
        hint = Hint(digest, source, sent, event_id=unique_id, actor="ana")
        wanted = Wanted(
            reference, Verdict.QUEUED, "rule 1 allows it", hint, unique_id=unique_id
        )
        delivery = Delivery(f"d{self.deliveries}", source, self.clock(), "192.0.2.1")
        return self.ledger.accept(delivery, [wanted])[0]

    def refuse(self, reference: str = REFERENCE, reason: str = "no rule") -> Accepted:
        """Accept a delivery with one push that the policy refuses."""
        self.deliveries += 1
        delivery = Delivery(f"d{self.deliveries}", "hub", self.clock(), None)
        wanted = Wanted(reference, Verdict.REFUSED, reason)
        return self.ledger.accept(delivery, [wanted])[0]

    def begin(self, worker: str = "w1", reference: str = REFERENCE) -> Lease:
        """Begin a run that there must be."""
        lease = self.ledger.begin(reference, worker=worker)
        assert lease is not None
        return lease

    def publish(
        self,
        lease: Lease,
        digest: str = D1,
        revision: int = 1,
        size: int | None = None,
    ) -> Accepted | None:
        """End a run as a publication of ``digest``."""
        return self.ledger.finish(
            lease,
            RunResult(
                Outcome.PUBLISHED,
                digest=digest,
                revision=revision,
                repository="unpacked.example.org",
                live=LiveImage(
                    {"flat": "/registry.example.org/atlas/analysis:v1"}, size
                ),
            ),
        )

    def fail(
        self,
        reference: str = REFERENCE,
        reason: str = REASON,
        *,
        is_public: bool = True,
        is_reason_open: bool = True,
    ) -> None:
        """Push, and end the run as a failure."""
        self.push(D1, reference)
        lease = self.begin(reference=reference)
        result = RunResult(
            Outcome.FAILED,
            reason=reason,
            is_public=is_public,
            is_reason_open=is_reason_open,
        )
        self.ledger.finish(lease, result)

    def push_public(self, digest: str = D1, reference: str = REFERENCE) -> None:
        """Push what is known to be public, because it was tried before."""
        self.fail(reference)
        self.push(digest, reference)

    def remove(self, reference: str = REFERENCE) -> None:
        """Take away what is live."""
        self.ledger.request(reference, source="operator", order=orders.REMOVE)
        lease = self.begin(reference=reference)
        result = RunResult(Outcome.REMOVED, reason="by hand", is_reason_open=True)
        self.ledger.finish(lease, result)

    def make_live(
        self, digest: str = D1, reference: str = REFERENCE, size: int | None = None
    ) -> None:
        """Push and publish."""
        self.push(digest, reference)
        assert self.publish(self.begin(reference=reference), digest, size=size) is None

    def image(self, reference: str = REFERENCE) -> ImageRecord:
        """Return a record that there must be."""
        record = self.ledger.image(reference)
        assert record is not None
        return record


@contextmanager
def open_ledger_driver(redis_server: RedisServer) -> Iterator[LedgerDriver]:
    """Give an empty ledger on ``server``."""
    with redis_server.client() as connection:
        connection.flushall()
        yield LedgerDriver(connection)
