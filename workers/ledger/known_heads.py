"""The newest head of each repository that we have seen, to notice when it goes back.

A disk that was not mounted, a backup that was put back, a bucket that lost a write: the
storage then shows an older head, or none. What is built upon that takes the place of
what was published since. So a head is compared with the one that is known, and only an
operator's word lets an older one count.

The storage itself cannot say it, and the ledger knows what was published.
"""

from collections.abc import Mapping

import redis

from workers.ledger import lookups, values
from workers.ledger.odd import PREFIX, readable, typed
from workers.ledger.reading import as_fields
from workers.ledger.scripts import Scripts
from workers.ledger.unavailable import as_ledger_error


class KnownHeads:
    """What the ledger knows of the heads of repositories.

    Args:
        connection: to the Redis that holds the ledger.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._scripts = Scripts(connection)

    def note(self, fqrn: str, revision: int, root: str) -> None:
        """Remember a head, unless a newer one is known; raises LedgerUnavailable.

        Args:
            fqrn: the repository.
            revision: its number.
            root: hash of its root catalog, as text.
        """
        self._write(fqrn, revision, root, "")

    def accept(self, fqrn: str, revision: int, root: str) -> None:
        """Remember a head instead of a newer one, by the operator's word."""
        self._write(fqrn, revision, root, "1")

    def objection(self, fqrn: str, revision: int, root: str) -> str | None:
        """Say why a head is not to be built upon; None if it is.

        Raises:
            LedgerUnavailable: Redis does not answer as it should.
        """
        known = self._known(fqrn)
        if known is None or revision > known[0] or (revision, root) == known:
            return None
        what = f"it went back to revision {revision}, the ledger knows {known[0]}"
        if revision == known[0]:
            what = f"its revision {revision} is not the one that the ledger knows"
        return (
            f"{what}: put the newer storage back, or let what is there count with"
            f" `cvmfs-webhook ledger rebuild {fqrn}`"
        )

    def knows(self, fqrn: str) -> bool:
        """Tell whether there was ever anything in a repository.

        Raises:
            LedgerUnavailable: Redis does not answer as it should.
        """
        if self._known(fqrn) is not None:
            return True
        with as_ledger_error():
            names = lookups.names(self._redis)
            return any(
                record.live_digest is not None and record.repository == fqrn
                for record in lookups.images(self._redis, names)
            )

    def _known(self, fqrn: str) -> tuple[int, str] | None:
        key = f"{PREFIX}head:{fqrn}"
        with as_ledger_error():
            reply = typed(self._redis, key, lambda: self._redis.hgetall(key))
        fields = [as_fields(reply)] if reply else []
        return next(readable(f"head of {fqrn}", _head_from_fields, fields), None)

    def _write(self, fqrn: str, revision: int, root: str, accepted: str) -> None:
        with as_ledger_error():
            self._scripts.call("head", "", fqrn, revision, root, accepted)


def _head_from_fields(fields: Mapping[str, str]) -> tuple[int, str]:
    return values.count(fields["revision"]), values.line(fields["root"])
