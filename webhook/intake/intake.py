"""Takes events in, whoever brings them: decided by the policy, kept, then queued.

What ``Intake.receive`` answers is on disk. Where it raises nothing is promised, and the
sender has to come again.
"""

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

from webhook.intake.judging import Judgement, judge
from webhook.senders.event import PushEvent
from workers.errors import TransientError, WorkerError
from workers.ledger import (
    Accepted,
    Delivery,
    DeliveryRecord,
    Hint,
    Ledger,
    LedgerUnavailable,
    Verdict,
    Wanted,
    orders,
)
from workers.policy import Policy, PolicyFile
from workers.reference import InvalidReference, Reference

logger = logging.getLogger(__name__)

# Asking Redis how it keeps data takes six questions, too many for each notification.
_SAFE_SECONDS = 5.0
_UNSAFE_SECONDS = 1.0
# Each of these is a line of the log's story.
_TOLD = frozenset({Verdict.QUEUED, Verdict.REFUSED})
# That one deletion by digest is looked up for.
_MOST_TAGS = 1000


class Carrier(Protocol):
    """Where the jobs go that the ledger asks for: a ``JobQueue``, or towards one."""

    def enqueue_accepted(self, accepted: Iterable[Accepted]) -> object:
        """Have them enqueued. What gets lost on the way, the workers' sweep finds."""


class NotKept(TransientError):
    """What came in could be lost, so it was not accepted."""


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """What a sender is told of one image: design section 5.4."""

    reference: str | None
    decision: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """What a sender is told of its notification.

    Attributes:
        id: of the delivery.
        images: in the notification's order; parts of images and pulls left out.
    """

    id: str
    images: tuple[ImageAnswer, ...]

    @property
    def is_queued(self) -> bool:
        """Whether there is work to do because of it."""
        return any(image.decision is Verdict.QUEUED for image in self.images)


class DurabilityCheck:
    """Whether Redis keeps what it acknowledges; remembered for some seconds.

    Args:
        ask: says what is wrong, or None; ``Ledger.durability_problem``.
        clock: seconds, monotonic.
    """

    def __init__(
        self, ask: Callable[[], str | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = Lock()
        self._problem: str | None = None
        self._until = -math.inf

    def problem(self) -> str | None:
        """Return what is wrong, in one line; None while all is well."""
        if self._clock() >= self._until:
            with self._lock:
                # Whoever waited here for somebody else's question has its answer.
                if self._clock() >= self._until:
                    self._problem = self._ask()
                    lasts = _UNSAFE_SECONDS if self._problem else _SAFE_SECONDS
                    self._until = self._clock() + lasts
        return self._problem


def durability_check(ledger: Ledger, *, is_trusted: bool) -> Callable[[], str | None]:
    """Return what says why Redis may lose what it accepts; None while it does not.

    Args:
        ledger: asks.
        is_trusted: the operator answers for Redis, so it is not asked.
    """
    if is_trusted:
        return lambda: None
    return DurabilityCheck(ledger.durability_problem).problem


class Intake:
    """The one way in, for notifications and whatever else brings events.

    Args:
        ledger: keeps them.
        carrier: takes the work on.
        policy_file: decides.
        durability: what speaks against trusting Redis; None while nothing does.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        carrier: Carrier,
        policy_file: PolicyFile,
        *,
        durability: Callable[[], str | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._carrier = carrier
        self._policy_file = policy_file
        self._durability = durability
        self._clock = clock

    def receive(
        self,
        source: str,
        events: Sequence[PushEvent],
        *,
        sender: str | None = None,
        if_idle: bool = False,
    ) -> DeliveryAnswer:
        """Keep a delivery's events and have the allowed ones worked on.

        Args:
            source: name of the source.
            events: all of one notification.
            sender: network address that it came from.
            if_idle: only for images to which nothing is owed at this moment.

        Raises:
            NotKept: nothing is promised of any of them.
        """
        delivery = Delivery(new_delivery_id(), source, self._clock(), sender)
        policy = self._policy_file.current()
        if self._policy_file.problem is not None and not policy.digest:
            # Refusing would lose the push: nobody sends it again once it is mended.
            raise NotKept("the policy file is broken, so nothing can be decided")
        judgements = [
            judgement
            for judgement in self._judged(events, policy)
            if judgement.is_about_image
        ]
        if not judgements:
            return DeliveryAnswer(delivery.id, ())
        wanted = [_wanted(judgement, delivery) for judgement in judgements]
        accepted = self._keep(delivery, wanted, if_idle=if_idle)
        for judgement, kept in zip(judgements, accepted, strict=True):
            logger.log(
                logging.INFO if kept.verdict in _TOLD else logging.DEBUG,
                "delivery=%s source=%s reference=%s %s: %s",
                *(delivery.id, source, judgement.name, kept.verdict, kept.reason),
            )
        return DeliveryAnswer(
            delivery.id,
            tuple(
                ImageAnswer(judgement.name, kept.verdict, kept.reason)
                for judgement, kept in zip(judgements, accepted, strict=True)
            ),
        )

    def replay(self, delivery: DeliveryRecord) -> DeliveryAnswer:
        """Decide again about what a delivery spoke of that is kept, by today's policy.

        What its registry has now is looked at: what the delivery said of digests is as
        old as it is. It becomes a delivery of its own.

        Raises:
            NotKept: nothing is promised of any of them.
        """
        events = [
            PushEvent(
                name.registry,
                name.repository,
                name.tag,
                action=event.action,
                event_id=event.event_id,
                actor=event.actor,
            )
            for event in delivery.events
            if (name := _tagged(event.reference)) is not None
        ]
        return self.receive(delivery.source, events, sender=delivery.sender)

    def _judged(
        self, events: Sequence[PushEvent], policy: Policy
    ) -> Iterator[Judgement]:
        for event in events:
            if event.action != "delete" or event.problem is not None:
                yield _judged(event, policy)
                continue
            named = self._deleted(event, policy)
            for one in named:
                judgement = _judged(one, policy)
                if judgement.verdict is Verdict.QUEUED and not self._is_live(one):
                    reason = "nothing is published under it"
                    judgement = Judgement(one, Verdict.IGNORED, reason)
                yield judgement

    def _deleted(self, event: PushEvent, policy: Policy) -> Sequence[PushEvent]:
        """Return a deletion, by a digest as one for each tag that is live with it."""
        name = Reference(event.registry, event.repository, "tag")
        is_kept = any(rule.keep and rule.matches_name(name) for rule in policy.rules)
        if event.tag is not None or event.digest is None or not is_kept:
            return [event]
        above = f"{event.registry}/{event.repository}:"
        try:
            page = self._ledger.images(limit=_MOST_TAGS, search=above)
        except LedgerUnavailable as exc:
            raise NotKept(str(exc)) from exc
        tags = [
            image.reference.removeprefix(above)
            for image in page.images
            if image.reference.startswith(above)
            and event.digest in {image.digest, image.live_digest}
        ]
        return [replace(event, tag=tag) for tag in tags] or [event]

    def _is_live(self, event: PushEvent) -> bool:
        try:
            image = self._ledger.image(event.reference or "")
        except LedgerUnavailable as exc:
            raise NotKept(str(exc)) from exc
        return image is not None and image.live_digest is not None

    def note_unreadable(
        self, source: str, reason: str, *, sender: str | None = None
    ) -> str:
        """Record a notification that nothing can be made of; return its delivery's id.

        Raises:
            NotKept: it is not on record.
        """
        delivery = Delivery(new_delivery_id(), source, self._clock(), sender)
        wanted = Wanted(None, Verdict.REFUSED, reason, action="unreadable")
        try:
            self._ledger.accept(delivery, [wanted])
        except LedgerUnavailable as exc:
            raise NotKept(str(exc)) from exc
        return delivery.id

    def _keep(
        self, delivery: Delivery, wanted: Sequence[Wanted], *, if_idle: bool
    ) -> list[Accepted]:
        problem = self._durability()
        if problem is not None:
            raise NotKept(problem)
        try:
            accepted = self._ledger.accept(delivery, wanted, if_idle=if_idle)
        except LedgerUnavailable as exc:
            raise NotKept(str(exc)) from exc
        try:
            self._carrier.enqueue_accepted(accepted)
        except WorkerError as exc:
            # It is kept and owed; the workers' sweep finds it within seconds.
            logger.warning("delivery=%s not queued yet: %s", delivery.id, exc)
        return accepted


def _judged(event: PushEvent, policy: Policy) -> Judgement:
    """Judge an event; where that fails it is refused.

    Judging is pure: if the event came again it would fail again, and stop the others.
    """
    try:
        return judge(event, policy)
    except MemoryError:
        raise
    except Exception:
        logger.exception("event not judged")
        reason = "it cannot be judged for a fault of ours, which the log has"
        return Judgement(event, Verdict.REFUSED, reason)


def _tagged(reference: str | None) -> Reference | None:
    try:
        return None if reference is None else Reference.parse(reference)
    except InvalidReference:
        return None  # refused under a name that no registry could have given


def new_delivery_id() -> str:
    """Return an id for a delivery, which nobody can guess."""
    return secrets.token_hex(12)


def _wanted(judgement: Judgement, delivery: Delivery) -> Wanted:
    event = judgement.event
    is_deletion = event.action == "delete"
    unique_id = None
    if event.is_id_unique and event.event_id is not None:
        # One envelope may carry one id twice, for a pull and the push after it.
        unique_id = f"{event.event_id} {event.reference} {event.digest}"
    return Wanted(
        reference=event.reference,
        verdict=judgement.verdict,
        reason=judgement.reason,
        hint=Hint(
            # What is deleted is not what to look for.
            digest=None if is_deletion else event.digest,
            sent=event.time,
            source=delivery.source,
            event_id=event.event_id,
            actor=event.actor,
        ),
        unique_id=unique_id,
        action=event.action,
        order=orders.LOOK if is_deletion else None,
    )
