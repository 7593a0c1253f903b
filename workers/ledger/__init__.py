"""The ledger: our own records in Redis, the truth of states, owed work and history.

RQ only carries work; what it forgets, the ledger still owes. Read ``records.py`` first.
"""

from workers.ledger.deliveries import (
    Accepted,
    Delivery,
    DeliveryEvent,
    DeliveryRecord,
    Hint,
    Verdict,
    Wanted,
)
from workers.ledger.ended_sessions import EndedSessions
from workers.ledger.known_heads import KnownHeads
from workers.ledger.ledger import Ledger
from workers.ledger.looks import Looks, Seen, Told
from workers.ledger.open_images import OpenImages
from workers.ledger.rebuilding import Change, Published, Rebuilder
from workers.ledger.records import (
    STOPS_ALLOWED,
    Event,
    ImagePage,
    ImageRecord,
    Lease,
    LedgerCounters,
    LiveImage,
    LiveRecord,
    Outcome,
    Progress,
    RunRecord,
    RunResult,
    Standing,
    State,
)
from workers.ledger.sweeping import put_off
from workers.ledger.turned_away import TurnedAway
from workers.ledger.unavailable import LedgerUnavailable

__all__ = [
    "STOPS_ALLOWED",
    "Accepted",
    "Change",
    "Delivery",
    "DeliveryEvent",
    "DeliveryRecord",
    "EndedSessions",
    "Event",
    "Hint",
    "ImagePage",
    "ImageRecord",
    "KnownHeads",
    "Lease",
    "Ledger",
    "LedgerCounters",
    "LedgerUnavailable",
    "LiveImage",
    "LiveRecord",
    "Looks",
    "OpenImages",
    "Outcome",
    "Progress",
    "Published",
    "Rebuilder",
    "RunRecord",
    "RunResult",
    "Seen",
    "Standing",
    "State",
    "Told",
    "TurnedAway",
    "Verdict",
    "Wanted",
    "put_off",
]
