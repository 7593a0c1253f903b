"""What an older converter made is made again, a few images at a time.

A converter of a new version finds what it would have made otherwise only by making it.
So all that is live and was made by an older one is asked for once, after its number was
said; what the registry does not have any more, or the policy not want, stays as it is.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice

from webhook.intake.intake import Carrier
from webhook.reconcile.pacing import Pacing
from workers.formats.receipt import CONVERTER
from workers.ledger import Hint, ImageRecord, Ledger, State, orders
from workers.policy import PolicyFile
from workers.policy.watching import RECONCILER
from workers.reference import Reference

log = logging.getLogger(__name__)

# So many wait or run at a time, so that pushes never wait behind all of them.
_AT_ONCE = 20
_RECORDS_AT_ONCE = 500


def is_outdated(record: ImageRecord) -> bool:
    """Tell whether an older converter made what is live of an image."""
    return record.live_digest is not None and (record.converter or 0) < CONVERTER


def count_outdated(records: Iterable[ImageRecord]) -> str | None:
    """Return a sentence on images that an older converter made; None: there are none.

    Args:
        records: of all images.
    """
    live = [record for record in records if record.live_digest is not None]
    outdated = sum(map(is_outdated, live))
    if not outdated:
        return None
    are = "image was" if outdated == 1 else "images were"
    return (
        f"{outdated} of {len(live)} live {are} made by an older converter than version"
        f" {CONVERTER}; `reconcile` makes them again, {_AT_ONCE} at a time"
    )


class Remaking:
    """Asks once for each image that an older converter made.

    Args:
        ledger: knows who made what.
        carrier: takes on what is asked for.
        policy_file: says what is wanted still.
    """

    def __init__(
        self, ledger: Ledger, carrier: Carrier, policy_file: PolicyFile
    ) -> None:
        self._ledger = ledger
        self._carrier = carrier
        self._policy_file = policy_file
        self._pacing = Pacing(ledger, _AT_ONCE)
        self._waiting: Iterator[str] | None = None

    def round(self) -> list[str]:
        """Ask for some more images, unless enough of them are being made; return them.

        Raises:
            LedgerUnavailable: the rest is for another time.
        """
        if not self._policy_file.current().digest:
            return []
        if self._waiting is None:
            self._waiting = iter(self._outdated())
        names = list(islice(self._waiting, self._pacing.room()))
        asked = [
            record.reference
            for record in self._ledger.records(names)
            if self._ask(record)
        ]
        self._pacing.add(asked)
        return asked

    def _outdated(self) -> list[str]:
        records = list(self._records())
        if (said := count_outdated(records)) is not None:
            log.warning("%s", said)
        return [record.reference for record in records if is_outdated(record)]

    def _records(self) -> Iterator[ImageRecord]:
        names = iter(self._ledger.references())
        while some := list(islice(names, _RECORDS_AT_ONCE)):
            yield from self._ledger.records(some)

    def _ask(self, record: ImageRecord) -> bool:
        """Ask for an image, if nothing else is asked of it and it is wanted still."""
        decision = self._policy_file.current().decide(Reference.parse(record.reference))
        if record.state is not State.LIVE or not decision.allowed:
            return False
        digest = record.live_digest
        is_restored = record.restored_instead_of is not None and digest is not None
        accepted = self._ledger.request(
            record.reference,
            source=RECONCILER,
            # A registry that does not have it is not asked again and again.
            hint=Hint(digest, RECONCILER, is_news=False),
            order=orders.restore(digest) if is_restored and digest else None,
            if_idle=True,
        )
        self._carrier.enqueue_accepted([accepted])
        return True
