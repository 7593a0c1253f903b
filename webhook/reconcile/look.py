"""One look at one image repository: asked, compared, told, remembered.

``differences.py`` says what counts as new; nothing is told twice for nothing, and what
somebody else asks for meanwhile goes first.
"""

import logging
import random
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from webhook.intake.intake import Carrier, Intake
from webhook.reconcile.differences import (
    Difference,
    Look,
    findings,
    is_repeated,
    remembered,
)
from webhook.senders.event import PushEvent
from workers.errors import ANSWERED, TransientError, WorkerError
from workers.ledger import (
    Hint,
    ImageRecord,
    Ledger,
    Looks,
    Seen,
    Told,
    Verdict,
    orders,
)
from workers.policy import Policy, Rule
from workers.policy.keeping import surplus
from workers.policy.watching import RECONCILER
from workers.reference import Reference
from workers.registry import RegistryClient

log = logging.getLogger(__name__)

_TAGS_AT_ONCE = 8
_EVENTS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class LookResult:
    """How the look at one image repository went.

    Attributes:
        name: registry/repository.
        tags: how many it has.
        pushed: tags that were queued.
        deleted: tags that a job is to look after, because they are gone.
        expired: tags that a job is to remove, because newer ones are kept.
        surplus: tags that it will be, once their grace time is over.
        problem: why it could not be looked at, or not completely; None: it was.
        unlisted: of a registry or a pattern, why nobody lists what is in it, and what
            helps.
    """

    name: str
    tags: int = 0
    pushed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    problem: str | None = None
    unlisted: str | None = None


@dataclass(frozen=True, slots=True)
class RegistryLook:
    """Looks at image repositories; safe from several threads.

    Attributes:
        ledger: what is known; its clock counts.
        looks: what was seen before.
        registry: is asked.
        intake: is told of what is new.
        carrier: takes on what is to expire.
    """

    ledger: Ledger
    looks: Looks
    registry: RegistryClient
    intake: Intake
    carrier: Carrier

    def look(
        self, name: str, policy: Policy, known: Collection[str]
    ) -> tuple[LookResult, TransientError | None]:
        """Look at one image repository, and see to it that what is new is known.

        Args:
            name: registry/repository.
            policy: in force.
            known: the references of it that the ledger has.

        Returns:
            How it went, and what the registry would not say now.

        Raises:
            WorkerError: the registry does not list its tags.
            LedgerUnavailable, NotKept: some of it may not have been told.
        """
        registry, _, repository = name.partition("/")
        before = self._records(known)
        tags = self.registry.tags(Reference(registry, repository, "latest"))
        look, trouble = self._with_digests(
            Look.under(policy, registry, repository, tags)
        )
        names = {str(look.reference(tag)) for tag in look.tags}
        records = self._records({*known, *names})
        seen, now = self.looks.seen(name), self.ledger.now()
        told: dict[str, Told] = {}
        fresh: list[Difference] = []
        hidden: set[str] = set()
        for finding in findings(look, policy, records, seen, now=now):
            tag, record = finding.tag, records.get(finding.tag)
            last = None if seen is None else seen.told.get(tag)
            # What was asked for meanwhile may have moved since it was looked at.
            if _requested(record) != _requested(before.get(tag)):
                continue
            if last is not None and is_repeated(finding, last, record, now=now):
                told[tag] = last
            elif record is None and not self._may_be_known(look, tag):
                hidden.add(tag)
            else:
                told[tag] = Told(finding.what, now)
                fresh.append(finding)
        self._tell(look, fresh, now)
        since, due = _surplus(look, records, policy, seen, now)
        expired = [tag for tag in sorted(due) if self._expire(records[tag])]
        memory = remembered(look.without(hidden), seen)
        self.looks.remember(name, replace(memory, told=told, surplus=since))
        return LookResult(
            name,
            len(look.tags),
            tuple(sorted(each.tag for each in fresh if each.kind != "delete")),
            tuple(each.tag for each in fresh if each.kind == "delete"),
            tuple(expired),
            tuple(sorted(since.keys() - due)),
            None if trouble is None else str(trouble),
        ), trouble

    def _with_digests(self, look: Look) -> tuple[Look, TransientError | None]:
        """Ask what the watched tags lead to; of some that may not be had."""
        watched = look.watched
        # A registry that answers only so many must not answer for the same each time.
        random.shuffle(watched)
        trouble: list[TransientError] = []

        def ask(tag: str) -> str | None:
            if any(error.retry_after is not None for error in trouble):
                return None  # it wants to be left alone
            try:
                return self.registry.resolve(look.reference(tag)).digest
            except ANSWERED as error:
                # Deleted since, or no image: nothing that a look has to do with.
                log.debug("reference=%s passed over: %s", look.reference(tag), error)
            except TransientError as error:
                trouble.append(error)
            return None

        with ThreadPoolExecutor(_TAGS_AT_ONCE, "tags") as executor:
            found = dict(zip(watched, executor.map(ask, watched), strict=True))
        digests = {tag: digest for tag, digest in found.items() if digest is not None}
        worst = max(trouble, key=lambda error: error.retry_after or 0.0, default=None)
        return replace(look, digests=digests), worst

    def _may_be_known(self, look: Look, tag: str) -> bool:
        """Whether everybody may learn that there is such a tag.

        We ask with our own credentials, and what nobody told us of may be private; what
        a rule does not publish then should not be shown as refused either.
        """
        rule = look.rules.get(tag)
        if rule is not None and rule.private == "allow":
            return True
        try:
            return self.registry.is_public(look.reference(tag))
        except WorkerError as error:
            log.debug("reference=%s passed over: %s", look.reference(tag), error)
            return False

    def _records(self, names: Collection[str]) -> dict[str, ImageRecord]:
        """Return by tag what is known of some references of one image repository."""
        return {
            record.reference.rpartition(":")[2]: record
            for record in self.ledger.records(sorted(names))
        }

    def _tell(self, look: Look, found: Sequence[Difference], now: float) -> None:
        for is_return in (True, False):
            waiting = iter(
                _event(look, finding, now)
                for finding in found
                if (finding.kind == "return") is is_return
            )
            while batch := list(islice(waiting, _EVENTS_AT_ONCE)):
                # What came back is waited for, and that is over; of all else nothing is
                # wanted, or somebody knows better.
                self.intake.receive(RECONCILER, batch, if_idle=not is_return)

    def _expire(self, record: ImageRecord) -> bool:
        """Have a tag looked after that is more than its rule keeps.

        Returns:
            False: something else is wanted of it, which may make it new.
        """
        accepted = self.ledger.request(
            record.reference,
            source=RECONCILER,
            # What is live is what the job is told to expect, so it stays live to all.
            hint=Hint(record.digest, RECONCILER, is_news=False),
            order=orders.EXPIRE,
            if_idle=True,
        )
        self.carrier.enqueue_accepted([accepted])
        return accepted.verdict is Verdict.QUEUED


def _surplus(
    look: Look,
    records: Mapping[str, ImageRecord],
    policy: Policy,
    seen: Seen | None,
    now: float,
) -> tuple[dict[str, float], set[str]]:
    """Return since when tags are known to be surplus, and those that are to go.

    Their grace time begins with the look that finds them so, under whichever rule.
    """
    before = {} if seen is None else seen.surplus
    since: dict[str, float] = {}
    due: set[str] = set()
    rules: Mapping[str, Rule] = surplus(records.values(), policy, look.tags)
    for reference, rule in rules.items():
        tag = reference.rpartition(":")[2]
        since[tag] = before.get(tag, now)
        if rule.keep is not None and now >= since[tag] + rule.keep.grace_seconds:
            due.add(tag)
    return since, due


def _requested(record: ImageRecord | None) -> int:
    return 0 if record is None else record.requested


def _event(look: Look, finding: Difference, now: float) -> PushEvent:
    return PushEvent.read(
        registry=look.registry,
        repository=look.repository,
        tag=finding.tag,
        digest=look.digests.get(finding.tag),
        action="delete" if finding.kind == "delete" else "push",
        time=now,
    )
