"""What the policy has turned away, so that it can be decided again by another one.

The scripts keep the names (``turn_away`` in ``prelude.lua``) of which the newest word
was refused for the name alone, also where something older is live meanwhile. What a run
refused, because it is private or lacks a label, is in the listing of that state.
"""

from functools import partial

import redis

from workers.ledger.odd import PREFIX, is_canonical, typed
from workers.ledger.reading import as_text
from workers.ledger.unavailable import as_ledger_error

_NAMES = f"{PREFIX}turned-away"
_REFUSED = f"{PREFIX}state:refused"
_DECIDED_BY = f"{PREFIX}decided-by"


class TurnedAway:
    """The names, and by which policy they were decided last.

    Every method raises LedgerUnavailable when Redis does not answer as it should.

    Args:
        connection: to the Redis that holds the ledger.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def names(self, *, by_runs: bool) -> list[str]:
        """Return the references that were turned away, the newest first.

        Args:
            by_runs: also those of which a run found more than their names, and refused
                it by its rule.
        """
        found: dict[str, None] = {}
        with as_ledger_error():
            for key in (_NAMES, _REFUSED) if by_runs else (_NAMES,):
                ask = partial(self._redis.zrevrange, key, 0, -1)
                found |= dict.fromkeys(map(as_text, typed(self._redis, key, ask)))
        return [name for name in found if is_canonical(name)]

    def decided_by(self) -> str | None:
        """Return the digest of the policy that all of them were decided by."""
        with as_ledger_error():
            text = typed(self._redis, _DECIDED_BY, lambda: self._redis.get(_DECIDED_BY))
        return None if text is None else as_text(text)

    def note_decided(self, policy: str) -> None:
        """Remember that all of them were decided by the policy of this digest."""
        with as_ledger_error():
            self._redis.set(_DECIDED_BY, policy)
