"""Keeping a lease alive while its job works."""

import logging
import threading
from types import TracebackType
from typing import Self

from workers.ledger.ledger import Ledger, LedgerUnavailable
from workers.ledger.records import Lease

_log = logging.getLogger(__name__)


class LeaseKeeper:
    """A thread that prolongs a lease for as long as its ``with`` block runs.

    A Redis that is away for a while is asked again: a lease that has run out is still
    the holder's until somebody else takes it.
    """

    def __init__(
        self, ledger: Ledger, lease: Lease, *, every_seconds: float = 5.0
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._every_seconds = every_seconds
        self._is_over = threading.Event()
        self._is_lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else has the lease: stop, and publish nothing."""
        return self._is_lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._is_over.wait(self._every_seconds):
            try:
                is_kept = self._ledger.keep_alive(self._lease)
            except LedgerUnavailable as exc:
                _log.warning("lease not prolonged yet: %s", exc)
                continue
            if not is_kept:
                self._is_lost.set()
                return
