"""What the front tells the ledger: deliveries, and what they want.

``records.py`` has what becomes of it. Times are seconds since the epoch.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What became of one event of a delivery."""

    QUEUED = "queued"
    REFUSED = "refused"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Hint:
    """What the newest event said about a reference. A hint only, never believed.

    Attributes:
        digest: the digest that the sender named.
        sent: when it happened, by the clock of the sender, which may be any time; None:
            it does not say. It orders events of one source, and nothing else.
        source: name of the source; ``operator``, ``cli`` … for what people ask.
        event_id: the sender's own id of the event.
        actor: who pushed, as the sender says.
        is_news: False for what was known before, by our own records: the registry is
            not waited for to have it.
    """

    digest: str | None
    source: str
    sent: float | None = None
    event_id: str | None = None
    actor: str | None = None
    is_news: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """One event of a delivery with the decision about it, as the front hands it in.

    Attributes:
        reference: absent where the event names no tag; then it can only be ignored.
        verdict: QUEUED, REFUSED or IGNORED.
        reason: one line; the policy's, or why there is nothing to do.
        hint: what the event said; needed where the verdict is QUEUED.
        unique_id: the sender's id of the event, only where that sender never gives the
            same id to two events. Seen again within a day it is a DUPLICATE.
        action: the normalised action of the event.
        order: what is wanted, as ``orders.py`` words it, other than that what the
            registry has be live.
    """

    reference: str | None
    verdict: Verdict
    reason: str
    hint: Hint | None = None
    unique_id: str | None = None
    action: str = "push"
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the ledger made of one ``Wanted`` or one request.

    Attributes:
        verdict: as handed in, or DUPLICATE.
        job_id: enqueue a job for the reference under this id, now. None: nothing to
            enqueue, because a job waits already, or one runs and will look again.
        number: count of requests for the reference with this one; a run whose number
            is not smaller answers it. 0 where nothing was requested.
    """

    reference: str | None
    verdict: Verdict
    reason: str
    job_id: str | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One authenticated notification as the front hands it in.

    Attributes:
        id: ours, unique; letters, digits, ``_`` and ``-``.
        source: name of the source it came in by.
        time: when we received it.
        sender: network address of the sender.
    """

    id: str
    source: str
    time: float
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """What is kept of one event of a delivery."""

    reference: str | None
    action: str
    digest: str | None
    event_id: str | None
    actor: str | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery with what became of its events, in the order of the notification."""

    id: str
    source: str
    time: float
    sender: str | None
    events: tuple[DeliveryEvent, ...]
