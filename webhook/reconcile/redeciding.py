"""A changed policy decides again about what was turned away by the one before.

So whoever allows a namespace has nothing else to do: what was pushed into it before is
asked for, the newest of each name, a few at a time. What a changed policy does not
allow any more stays as it is: what is live stays live.
"""

import logging
import math
from collections.abc import Iterator
from itertools import islice

from webhook.intake.intake import Carrier
from webhook.reconcile.pacing import Pacing
from workers.ledger import Ledger, TurnedAway, Verdict
from workers.policy import Policy, PolicyFile
from workers.policy.watching import RECONCILER
from workers.reference import InvalidReference, Reference

log = logging.getLogger(__name__)

# So many wait or run at a time, so that pushes never wait behind all of them.
_AT_ONCE = 20
# So many are decided in one round, however few of them are allowed.
_DECISIONS = 2000
# Another machine may read the new policy so much later, and refuse by the old one what
# is pushed meanwhile: so all of that is decided once more.
_LATE_SECONDS = 300.0


class Redeciding:
    """Asks for what was turned away and is allowed now, once for each policy.

    Args:
        ledger: is asked for it.
        turned_away: what there is, and which policy has decided about it.
        carrier: takes on what is asked for.
        policy_file: decides.
    """

    def __init__(
        self,
        ledger: Ledger,
        turned_away: TurnedAway,
        carrier: Carrier,
        policy_file: PolicyFile,
    ) -> None:
        self._ledger = ledger
        self._turned_away = turned_away
        self._carrier = carrier
        self._policy_file = policy_file
        self._pacing = Pacing(ledger, _AT_ONCE)
        self._deciding: str | None = None
        self._waiting: Iterator[str] | None = None
        self._once_more_at: float | None = None

    def round(self, *, everything: bool = False) -> list[str]:
        """Ask for some more of what is allowed now; return it.

        Args:
            everything: all of it, and not only a few.

        Raises:
            LedgerUnavailable: the rest is for another time.
        """
        policy = self._policy_file.current()
        if not policy.digest:
            return []  # there never was one that can be read
        self._begin(policy, anew=everything)
        asked: list[str] = []
        room = self._pacing.room() if self._waiting is not None else 0
        decided = 0
        while self._waiting is not None and (
            everything or (len(asked) < room and decided < _DECISIONS)
        ):
            some = list(islice(self._waiting, _AT_ONCE))
            asked += self._ask([name for name in some if _is_allowed(policy, name)])
            decided += len(some)
            if not some:
                self._end(policy)
        self._pacing.add(asked)
        if asked:
            log.info("allowed_now=%d policy=%s", len(asked), policy.digest[:12])
        return asked

    def _begin(self, policy: Policy, *, anew: bool) -> None:
        """Begin with another policy, or once more where it may be time for that."""
        if anew or policy.digest != self._deciding:
            is_decided = self._turned_away.decided_by() == policy.digest
            names = self._turned_away.names(by_runs=not is_decided)
            self._deciding, self._once_more_at = policy.digest, None
        elif (
            self._waiting is None
            and self._once_more_at is not None
            and self._ledger.now() >= self._once_more_at
        ):
            names = self._turned_away.names(by_runs=False)
        else:
            return
        self._waiting = iter(names)

    def _end(self, policy: Policy) -> None:
        self._waiting = None
        if self._once_more_at is None:
            self._turned_away.note_decided(policy.digest)
            self._once_more_at = self._ledger.now() + _LATE_SECONDS
        else:
            self._once_more_at = math.inf

    def _ask(self, references: list[str]) -> list[str]:
        """Ask for some references to which nothing is owed; return those."""
        accepted = [
            self._ledger.request(reference, source=RECONCILER, if_idle=True)
            for reference in references
        ]
        self._carrier.enqueue_accepted(accepted)
        return [
            one.reference
            for one in accepted
            if one.verdict is Verdict.QUEUED and one.reference
        ]


def _is_allowed(policy: Policy, reference: str) -> bool:
    try:
        return policy.decide(Reference.parse(reference)).allowed
    except InvalidReference:
        return False  # refused under a name that no registry could have given
