"""A person asks for an image: the same policy, ledger and queue as for a push.

Removing and restoring go the same way, so the newest word wins, whoever says it.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from workers.errors import PermanentError, WorkerError
from workers.jobqueue import JobQueue
from workers.ledger import Accepted, Ledger, LiveRecord, State, Verdict, orders
from workers.policy import Decision, PolicyFile
from workers.reference import InvalidReference, Reference, parse_digest

log = logging.getLogger(__name__)

_CANCELLED = "cancelled by the operator; the next push or `publish` asks for it again"


# Records that are read, and requests that are one step, at a time.
_AT_ONCE = 200


class NeverAskedFor(PermanentError):
    """A name of which nothing is known; it may be mistyped."""


class NotLiveBefore(PermanentError):
    """The history of an image has nothing to go back to."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """What became of a wish to go back.

    Attributes:
        decision: the policy's, without which nothing is restored.
        digest: that is to be live again.
        number: of the request; 0 where it was refused.
    """

    decision: Decision
    digest: str
    number: int


@dataclass(frozen=True, slots=True)
class Retry:
    """What became of a wish to try again.

    Attributes:
        decision: the policy's, without which nothing is tried.
        number: of the request; 0 where there was none.
        state: of the image before; only what failed or was refused is tried again.
    """

    decision: Decision
    number: int
    state: State

    @property
    def verdict(self) -> Verdict:
        """QUEUED, REFUSED, or IGNORED where there is nothing to try again."""
        if not self.decision.allowed:
            return Verdict.REFUSED
        return Verdict.QUEUED if self.number else Verdict.IGNORED

    @property
    def reason(self) -> str:
        """Why, in one line."""
        if self.verdict is Verdict.IGNORED:
            return f"nothing to retry: {self.decision.reference} is {self.state}"
        return self.decision.reason


@dataclass(frozen=True, slots=True)
class PublishRequests:
    """Where requests by hand go.

    Attributes:
        policy: decides, exactly as it does about pushes.
        ledger: keeps what was asked for.
        queue: carries it to a worker.
    """

    policy: PolicyFile
    ledger: Ledger
    queue: JobQueue

    def submit(self, reference: Reference, *, forced: bool = False) -> Decision:
        """Have a reference looked at and published, if the policy allows it.

        Args:
            reference: with a tag; a digest alone has no place in the repository.
            forced: rebuild it even if it is unchanged.

        Raises:
            InvalidReference: it has no tag.
            LedgerUnavailable: nothing was asked for.
        """
        _check_name(reference)
        decision = self.policy.current().decide(reference)
        if decision.allowed:
            self._request(reference, None, forced=forced)
        else:
            log.info(
                "source=operator reference=%s refused: %s", reference, decision.reason
            )
        return decision

    def retry(self, reference: Reference) -> Retry:
        """Have what failed or was refused tried again at once, as it was asked for.

        Raises:
            InvalidReference: it has no tag.
            NeverAskedFor: nothing is known of it.
            LedgerUnavailable: nothing was asked for.
        """
        _check_name(reference)
        image = self.ledger.image(str(reference))
        if image is None:
            raise NeverAskedFor(f"{reference} was never pushed or asked for")
        decision = self.policy.current().decide(reference)
        if not decision.allowed:
            return Retry(decision, 0, image.state)
        (accepted,) = self._again([str(reference)])
        return Retry(decision, accepted.number, image.state)

    def retry_failed(self, registry: str | None = None) -> list[str]:
        """Have all that failed tried again at once; return their names.

        What the operator has cancelled, or the policy refuses, is left alone.

        Args:
            registry: canonical; None: of all of them.

        Raises:
            LedgerUnavailable: the rest stays as it is; ask again.
        """
        policy = self.policy.current()
        failed = [name for name in self._failed() if policy.decide(name).allowed]
        names = [
            str(name)
            for name in failed
            if registry is None or name.registry == registry
        ]
        queued: list[str] = []
        for begin in range(0, len(names), _AT_ONCE):
            queued.extend(
                accepted.reference
                for accepted in self._again(names[begin : begin + _AT_ONCE])
                if accepted.verdict is Verdict.QUEUED and accepted.reference
            )
        return queued

    def _failed(self) -> list[Reference]:
        """Return what failed, before any of it is asked for, which moves the list."""
        found: list[Reference] = []
        seen = 0
        while True:
            page = self.ledger.images(seen, _AT_ONCE, state=State.FAILED)
            seen += len(page.images)
            for image in page.images:
                if image.reason != _CANCELLED:
                    with suppress(InvalidReference):
                        found.append(Reference.parse(image.reference))
            if not page.images or seen >= page.total:
                return found

    def _again(self, names: Sequence[str]) -> list[Accepted]:
        accepted = self.ledger.retry(names, source="operator")
        self._enqueue(accepted)
        return accepted

    def remove(self, reference: Reference) -> Accepted:
        """Have nothing published under a reference; the policy need not allow it.

        Raises:
            InvalidReference: it has no tag.
            NeverAskedFor: nothing is known of it.
            LedgerUnavailable: nothing was asked for.
        """
        self._check_known(reference)
        return self._request(reference, orders.REMOVE)

    def cancel(self, reference: Reference) -> bool:
        """Have nothing done for a reference until it is asked for again.

        Returns:
            False: there was nothing to be done.

        Raises:
            InvalidReference: it has no tag.
            NeverAskedFor: nothing is known of it.
            LedgerUnavailable: nothing is changed.
        """
        self._check_known(reference)
        return self.ledger.cancel(str(reference), _CANCELLED)

    def restore(self, reference: Reference, digest: str | None) -> Restoration:
        """Have what was live before be live again, if the policy allows the reference.

        Args:
            reference: with a tag.
            digest: whole, or the beginning of one that was live; None: the one before.

        Raises:
            InvalidReference: the reference has no tag.
            NotLiveBefore: there is none, or more than one it could be.
            LedgerUnavailable: nothing was asked for.
        """
        _check_name(reference)
        chosen = earlier_digest(reference, self.ledger.lives(str(reference)), digest)
        decision = self.policy.current().decide(reference)
        if not decision.allowed:
            return Restoration(decision, chosen, 0)
        accepted = self._request(reference, orders.restore(chosen))
        return Restoration(decision, chosen, accepted.number)

    def _check_known(self, reference: Reference) -> None:
        _check_name(reference)
        if self.ledger.image(str(reference)) is None:
            raise NeverAskedFor(
                f"{reference} was never pushed or asked for; if a repository has it all"
                " the same, run `ledger rebuild` first"
            )

    def _request(
        self, reference: Reference, order: str | None, *, forced: bool = False
    ) -> Accepted:
        accepted = self.ledger.request(
            str(reference), source="operator", forced=forced, order=order
        )
        what = "publish" if order is None else order
        log.info("source=operator reference=%s queued: %s", reference, what)
        self._enqueue([accepted])
        return accepted

    def _enqueue(self, accepted: Sequence[Accepted]) -> None:
        try:
            self.queue.enqueue_accepted(accepted)
        except WorkerError as error:
            # It is kept and owed; the workers' sweep finds it within seconds.
            names = ", ".join(str(one.reference) for one in accepted)
            log.warning("reference=%s not queued yet: %s", names, error)


def earlier_digest(
    reference: Reference, lives: Sequence[LiveRecord], wanted: str | None
) -> str:
    """Return which digest somebody means to go back to.

    Args:
        reference: for the error.
        lives: what was live, newest first.
        wanted: a whole digest, which need not have been live; the beginning of one that
            was, with or without ``sha256:``; None: the one before.

    Raises:
        NotLiveBefore: none is meant, or several are.
    """
    known = list(dict.fromkeys(live.digest for live in lives if live.digest))
    if wanted is None:
        now = lives[0].digest if lives else None
        earlier = [digest for digest in known if digest != now]
        if not earlier:
            raise NotLiveBefore(
                f"{reference}: nothing else was live before, as far as is known; give"
                " the DIGEST to restore"
            )
        return earlier[0]
    try:
        return parse_digest(wanted)
    except InvalidReference:
        found = [
            digest
            for digest in known
            if digest.startswith(wanted) or digest.partition(":")[2].startswith(wanted)
        ]
    if len(found) != 1:
        how_many = "several digests" if found else "no digest"
        raise NotLiveBefore(
            f"{reference}: {how_many} of its history begin with {wanted!r:.80}; `status"
            " --json` lists them whole"
        )
    return found[0]


def _check_name(reference: Reference) -> None:
    if reference.tag is None or reference.digest is not None:
        raise InvalidReference(
            "reference", str(reference), "give registry/repository:tag, no digest"
        )
