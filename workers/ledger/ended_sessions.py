"""Sessions of the operator that were ended before their time.

A session is a signed cookie, which nobody can take back from a browser. So the server
remembers the ids of those that were ended, for as long as their cookies would hold.
"""

import redis

from workers.ledger.unavailable import as_ledger_error

_PREFIX = "cvmfs-webhook:ended-session:"


class EndedSessions:
    """Their ids; see the module. Every method raises LedgerUnavailable.

    Args:
        connection: to the Redis that all receivers share.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def end(self, session_id: str, *, seconds: int) -> None:
        """Remember for so long that a session was ended."""
        with as_ledger_error():
            self._redis.set(f"{_PREFIX}{session_id}", "1", ex=max(1, seconds))

    def has_ended(self, session_id: str) -> bool:
        """Whether a session was ended."""
        with as_ledger_error():
            return bool(self._redis.exists(f"{_PREFIX}{session_id}"))
