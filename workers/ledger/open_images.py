"""The images that strangers may see: what is or was live, and what anybody could pull.

Names of private projects are in the ledger, too, because somebody pushed them. They
are in none of these answers, in no count and no total. The scripts keep listings of
what may be seen (``list_openly`` in ``prelude.lua``), so that a page costs the same
whatever else there is; only of what was never live is the policy asked each time, as
it may change.
"""

from collections.abc import Callable, Collection

import redis

from workers.ledger import lookups
from workers.ledger.odd import PREFIX, is_name, typed
from workers.ledger.reading import as_text
from workers.ledger.records import ImagePage, ImageRecord, LiveRecord, RunRecord, State
from workers.ledger.scripts import Scripts
from workers.ledger.unavailable import as_ledger_error

_AT_ONCE = 500
# There once it is certain that every record is in the listings.
_IS_LISTED = f"{PREFIX}open-is-listed"


class OpenImages:
    """The questions of ``Ledger`` about images, for strangers.

    Every method raises LedgerUnavailable when Redis does not answer as it should.

    Args:
        connection: to the Redis that holds the ledger.
        allowed: returns those of some references that the policy in force would
            publish.
    """

    def __init__(
        self,
        connection: redis.Redis,
        allowed: Callable[[Collection[str]], Collection[str]],
    ) -> None:
        self._redis = connection
        self._scripts = Scripts(connection)
        self._allowed = allowed
        self._is_listed = False

    def image(self, reference: str) -> ImageRecord | None:
        """Return what is known of a reference; None also where it is not to be seen."""
        with as_ledger_error():
            if not self._may_be_seen(reference):
                return None
            return next(iter(lookups.images(self._redis, [reference])), None)

    def images(
        self,
        offset: int = 0,
        limit: int = 100,
        *,
        state: State | None = None,
        search: str | None = None,
    ) -> ImagePage:
        """List references, the newest change first; ``search`` is a part of a name."""
        key = f"{PREFIX}open" if state is None else f"{PREFIX}open:{state}"
        with as_ledger_error():
            hidden = self._hidden()
            return lookups.page_of(self._redis, key, offset, limit, search, hidden)

    def counts(self) -> dict[State, int]:
        """Return how many references are in each state; every state is there."""
        with as_ledger_error():
            hidden = [name for name in self._hidden() if is_name(name)]
            return {state: self._count(state, hidden) for state in State}

    def runs(self, reference: str, limit: int = 50) -> list[RunRecord]:
        """Return the last finished runs of a reference that may be seen."""
        with as_ledger_error():
            if not self._may_be_seen(reference):
                return []
            return lookups.runs(self._redis, reference, limit)

    def lives(self, reference: str, limit: int = 100) -> list[LiveRecord]:
        """Return which digest was live from when on, newest first."""
        with as_ledger_error():
            if not self._may_be_seen(reference):
                return []
            return lookups.lives(self._redis, reference, limit)

    def _count(self, state: State, hidden: list[str]) -> int:
        key = f"{PREFIX}open:{state}"
        total = int(typed(self._redis, key, lambda: self._redis.zcard(key)))
        if not total or not hidden:
            return total
        scores = self._redis.zmscore(key, hidden)
        return total - sum(score is not None for score in scores)

    def _may_be_seen(self, reference: str) -> bool:
        """Tell by two fields, so that it takes as long whatever the answer is."""
        self._see_to_listings()
        fields = ["was_live", "is_public"]
        key = f"{PREFIX}image:{reference}"
        reply = typed(self._redis, key, lambda: self._redis.hmget(key, fields))
        was_live, is_public = reply
        is_allowed = reference in self._allowed([reference])
        return was_live is not None or (is_public is not None and is_allowed)

    def _hidden(self) -> Collection[str]:
        """Return what is in the listings and not allowed any more."""
        self._see_to_listings()
        key = f"{PREFIX}unlived"
        members = typed(self._redis, key, lambda: self._redis.smembers(key))
        unlived = {as_text(name) for name in members}
        return unlived.difference(self._allowed(unlived))

    def _see_to_listings(self) -> None:
        """List the records of before there were listings, once in a ledger's life."""
        if self._is_listed or self._redis.exists(_IS_LISTED):
            self._is_listed = True
            return
        names = lookups.names(self._redis)
        for begin in range(0, len(names), _AT_ONCE):
            self._scripts.call("list_openly", "", *names[begin : begin + _AT_ONCE])
        self._redis.set(_IS_LISTED, "1")
