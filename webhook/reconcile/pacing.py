"""Asking for much without standing in the way: only some wait or run at a time."""

from collections.abc import Iterable

from workers.ledger import Ledger


class Pacing:
    """Counts what was asked for and has not been answered yet.

    Args:
        ledger: knows what is owed.
        at_once: that may be.
    """

    def __init__(self, ledger: Ledger, at_once: int) -> None:
        self._ledger = ledger
        self._at_once = at_once
        self._asked: set[str] = set()

    def room(self) -> int:
        """Return how many more may be asked for now; raises LedgerUnavailable."""
        owed = self._ledger.records(sorted(self._asked))
        self._asked = {record.reference for record in owed if record.is_owed}
        return max(0, self._at_once - len(self._asked))

    def add(self, references: Iterable[str]) -> None:
        """Note what was asked for."""
        self._asked.update(references)
