"""One more sender: asks the registries on a timer, and tells the intake like any other.

Notifications get lost: senders forget them when they restart, and some never tell of a
deletion. So for each image repository that the policy watches the registry is asked for
its tags and what they lead to, and what is new goes the way of a push: policy, ledger,
queue. For rules with ``keep``, what is gone from the registry or no longer among the
newest goes the way of a deletion; the job asks everything again before it removes.

Essential reading: ``differences.py`` (what counts as new).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from webhook.differences import Look, deleted, pushed, remembered, rules_of
from webhook.event import PushEvent
from webhook.intake import Carrier, Intake
from workers.errors import PermanentError, TransientError, WorkerError
from workers.ledger import Hint, ImageRecord, Ledger, Looks, Verdict, orders
from workers.policy import Policy, PolicyFile, Rule
from workers.policy.keeping import expired
from workers.policy.watching import RECONCILER, every_seconds
from workers.reference import DOCKER_HUB, InvalidReference, Reference
from workers.registry import RegistryClient, RegistryUnavailable

log = logging.getLogger(__name__)

_ASKED_AT_ONCE = 8
_EVENTS_AT_ONCE = 100
# A registry that does not answer is left alone for so long, or as long as it wants.
_REST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """How the look at one image repository went.

    Attributes:
        name: registry/repository.
        tags: how many it has.
        pushed: tags that were queued.
        deleted: tags that a job is to look after, because they are gone.
        expired: tags that a job is to remove, because newer ones are kept.
        problem: why it could not be looked at; None: it was.
    """

    name: str
    tags: int = 0
    pushed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(slots=True)
class Reconciler:
    """Asks the registries for what the policy says to watch.

    Attributes:
        ledger: what is known.
        looks: what was seen before.
        registry: is asked.
        intake: is told of what is new.
        carrier: takes on what is to expire.
        policy_file: says what to watch.
        clock: seconds since the epoch.
    """

    ledger: Ledger
    looks: Looks
    registry: RegistryClient
    intake: Intake
    carrier: Carrier
    policy_file: PolicyFile
    clock: Callable[[], float] = time.time
    _resting: dict[str, float] = field(default_factory=dict)
    _listed: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)

    def round(self, *, everything: bool = False) -> Iterator[Found]:
        """Look at each image repository that is due, and yield how it went.

        Args:
            everything: whatever was looked at before.

        Raises:
            LedgerUnavailable, NotKept: the rest is for another time.
        """
        policy = self.policy_file.current()
        if not policy.digest:
            return  # there never was one that can be read
        known = _by_repository(self.ledger.references())
        intervals = self._intervals(policy, known, everything=everything)
        times = self.looks.times()
        self.looks.forget(times.keys() - intervals.keys())
        for name, every in sorted(intervals.items()):
            is_due = self.clock() >= times.get(name, 0.0) + every
            if (everything or is_due) and not self._is_resting(name):
                with self.looks.claim(name) as is_ours:
                    look = self._look(name, policy, known) if is_ours else None
                if look is not None:
                    yield look
        self.looks.note_round()

    # Where to look.

    def _intervals(
        self, policy: Policy, known: Iterable[str], *, everything: bool
    ) -> dict[str, int]:
        """Return how often each image repository is looked at, in seconds, by name."""
        rules = [rule for rule in policy.rules if rule.watch or rule.keep]
        intervals: dict[str, int] = {}
        for rule in rules:
            every = every_seconds(rule)
            for name in {*known, *self._named(rule, every, everything=everything)}:
                reference = _any_tag(name)
                if reference is not None and rule.matches_name(reference):
                    intervals[name] = min(every, intervals.get(name, every))
        return intervals

    def _named(self, rule: Rule, every: int, *, everything: bool) -> frozenset[str]:
        """Return the image repositories that a rule's pattern leads to by itself."""
        host, _, path = rule.canonical_pattern.partition("/")
        if "*" in host or rule.watch is None:
            return frozenset()
        if "*" not in path:
            return frozenset({rule.canonical_pattern})
        namespace = path.partition("/")[0]
        if host == DOCKER_HUB and "*" in namespace:
            return frozenset()
        key = f"{host}/{namespace}" if host == DOCKER_HUB else host
        listed_at, names = self._listed.get(key, (-float("inf"), frozenset()))
        if everything or self.clock() >= listed_at + every:
            names = self._list(host, namespace) or names
            self._listed[key] = self.clock(), names
        return names

    def _list(self, host: str, namespace: str) -> frozenset[str]:
        if self._is_resting(host):
            return frozenset()
        try:
            repositories = frozenset(self.registry.repositories(host, namespace))
        except PermanentError as error:
            # As most registries do; what was pushed once is known all the same.
            log.info("registry=%s lists no repositories to us: %s", host, error)
            return frozenset()
        except TransientError as error:
            self._rest(host, error)
            return frozenset()
        return frozenset(f"{host}/{repository}" for repository in repositories)

    def _is_resting(self, name: str) -> bool:
        return self.clock() < self._resting.get(name.partition("/")[0], 0.0)

    def _rest(self, name: str, error: TransientError) -> None:
        host = name.partition("/")[0]
        seconds = max(error.retry_after or 0.0, _REST_SECONDS)
        self._resting[host] = self.clock() + seconds
        log.warning("registry=%s is asked again in %.0f s: %s", host, seconds, error)

    # One look.

    def _look(
        self, name: str, policy: Policy, known: Mapping[str, Sequence[str]]
    ) -> Found:
        try:
            look = self._ask(name, policy)
        except RegistryUnavailable as error:
            self._rest(name, error)
            return Found(name, problem=str(error))
        except WorkerError as error:
            # Remembered as looked at, so that it waits for its turn again.
            log.warning("repository=%s cannot be looked at: %s", name, error)
            self.looks.postpone(name)
            return Found(name, problem=str(error))
        records = self._records(look, known.get(name, ()))
        rules = rules_of(look, policy)
        seen, now = self.looks.seen(name), self.clock()
        is_new = list(pushed(look, rules, records, seen, now=now))
        is_gone = list(deleted(look, policy, records))
        self._tell(
            [
                *(_event(look, tag, "push", now) for tag in is_new),
                *(_event(look, tag, "delete", now) for tag in is_gone),
            ]
        )
        due = expired(records.values(), policy, look.tags, now=now)
        is_old = [
            tag
            for tag, record in records.items()
            if record.reference in due and self._expire(record, now)
        ]
        self.looks.remember(name, remembered(look, rules))
        found = Found(
            name, len(look.tags), tuple(is_new), tuple(is_gone), tuple(is_old)
        )
        log.info(
            "repository=%s tags=%d pushed=%d deleted=%d expired=%d",
            *(name, len(look.tags), len(is_new), len(is_gone), len(is_old)),
        )
        return found

    def _ask(self, name: str, policy: Policy) -> Look:
        """Ask the registry for all tags, and for what the watched ones lead to."""
        registry, _, repository = name.partition("/")
        reference = Reference(registry, repository, "latest")
        look = Look(registry, repository, frozenset(self.registry.tags(reference)))
        watched = [tag for tag, rule in rules_of(look, policy).items() if rule.watch]
        with ThreadPoolExecutor(_ASKED_AT_ONCE, "look") as executor:
            digests = executor.map(lambda tag: self._digest(look, tag), watched)
            try:
                found = dict(zip(watched, digests, strict=True))
            finally:
                executor.shutdown(cancel_futures=True)
        images = {tag: digest for tag, digest in found.items() if digest is not None}
        return Look(registry, repository, look.tags, images)

    def _digest(self, look: Look, tag: str) -> str | None:
        try:
            return self.registry.resolve(look.reference(tag)).digest
        except PermanentError as error:
            # Deleted since, or no image: nothing that a look has to do with.
            log.debug("reference=%s passed over: %s", look.reference(tag), error)
            return None

    def _records(self, look: Look, known: Sequence[str]) -> dict[str, ImageRecord]:
        """Return by tag what is known of one image repository."""
        names = {*known, *(str(look.reference(tag)) for tag in look.tags)}
        return {
            record.reference.rpartition(":")[2]: record
            for record in self.ledger.records(sorted(names))
        }

    def _tell(self, events: Iterable[PushEvent]) -> None:
        waiting = iter(events)
        while batch := list(islice(waiting, _EVENTS_AT_ONCE)):
            self.intake.receive(RECONCILER, batch)

    def _expire(self, record: ImageRecord, now: float) -> bool:
        """Have a tag looked after that is more than its rule keeps.

        Returns:
            False: something else is wanted of it, which may make it new.
        """
        accepted = self.ledger.request(
            record.reference,
            source=RECONCILER,
            # What is live is what the job is told to expect, so it stays live to all.
            hint=Hint(record.digest, now, RECONCILER),
            order=orders.EXPIRE,
            if_idle=True,
        )
        self.carrier.enqueue_accepted([accepted])
        return accepted.verdict is Verdict.QUEUED


def _by_repository(references: Iterable[str]) -> dict[str, list[str]]:
    """Return references by registry/repository."""
    by_name: dict[str, list[str]] = {}
    for reference in references:
        by_name.setdefault(reference.rpartition(":")[0], []).append(reference)
    return by_name


def _any_tag(name: str) -> Reference | None:
    """Return a reference of an image repository; None: it has no name of one."""
    try:
        return Reference.parse(f"{name}:latest")
    except InvalidReference:
        return None


def _event(look: Look, tag: str, action: str, now: float) -> PushEvent:
    return PushEvent.read(
        registry=look.registry,
        repository=look.repository,
        tag=tag,
        digest=look.digests.get(tag),
        action=action,
        time=now,
    )
