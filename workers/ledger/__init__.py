"""The ledger: our own records in Redis, the truth of states, owed work and history.

RQ only carries work; what it forgets, the ledger still owes. Read ``records.py`` first.
"""

from workers.ledger.ledger import Ledger, LedgerUnavailable
from workers.ledger.records import (
    Accepted,
    Counters,
    Delivery,
    DeliveryEvent,
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
    Verdict,
    Wanted,
)
from workers.ledger.sweeping import put_off

__all__ = [
    "Accepted",
    "Counters",
    "Delivery",
    "DeliveryEvent",
    "DeliveryRecord",
    "Event",
    "Hint",
    "ImagePage",
    "ImageRecord",
    "Lease",
    "Ledger",
    "LedgerUnavailable",
    "Outcome",
    "Progress",
    "RunRecord",
    "State",
    "Verdict",
    "Wanted",
    "put_off",
]
