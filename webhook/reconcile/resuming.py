"""What was given up for trouble around the image is asked for again, some at a time.

A run is tried again for two hours; what lasts longer, an expired certificate or a
password that nobody renewed, is mended some day without anybody telling us. So all that
failed so is asked for every six hours, whether a rule watches it or not, as long as the
policy wants it.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from webhook.intake.intake import Carrier
from webhook.reconcile.differences import is_given_up
from webhook.reconcile.pacing import Pacing
from workers.ledger import ImageRecord, Ledger, State, orders
from workers.policy import PolicyFile
from workers.policy.watching import RECONCILER
from workers.reference import Reference

# So many wait or run at a time, so that pushes never wait behind all of them.
_AT_ONCE = 20
_RECORDS_AT_ONCE = 500
_LOOK_SECONDS = 60.0


class Resuming:
    """Asks again for each image that was given up for trouble around it.

    Args:
        ledger: knows what failed, and when.
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
        self._looked_at: float | None = None

    def round(self) -> list[str]:
        """Ask for some more images, unless enough of them are tried; return them.

        Raises:
            LedgerUnavailable: the rest is for another time.
        """
        now = self._ledger.now()
        if not self._policy_file.current().digest or (
            self._looked_at is not None
            and self._looked_at <= now < self._looked_at + _LOOK_SECONDS
        ):
            return []
        self._looked_at = now
        room = self._pacing.room()
        # All of them first: asking for one moves the list.
        given_up = [record for record in self._failed() if is_given_up(record, now)]
        wanted = (record.reference for record in given_up if self._ask(record))
        asked = list(islice(wanted, room))
        self._pacing.add(asked)
        return asked

    def _failed(self) -> Iterator[ImageRecord]:
        """Yield what failed; what changes meanwhile may be left for another time."""
        offset = 0
        while True:
            page = self._ledger.images(offset, _RECORDS_AT_ONCE, state=State.FAILED)
            yield from page.images
            offset += _RECORDS_AT_ONCE
            if offset >= page.total:
                return

    def _ask(self, record: ImageRecord) -> bool:
        """Ask for what was asked for, if nothing else is and it is wanted still."""
        policy, reference = self._policy_file.current(), record.reference
        is_removal = record.order in {orders.REMOVE, orders.EXPIRE}
        if not is_removal and not policy.decide(Reference.parse(reference)).allowed:
            return False
        hint = record.hint
        accepted = self._ledger.request(
            reference,
            source=RECONCILER,
            # The push was hours ago: the registry is not waited for to have it.
            hint=None if hint is None else replace(hint, is_news=False),
            order=record.order,
            if_idle=True,
        )
        self._carrier.enqueue_accepted([accepted])
        return True
