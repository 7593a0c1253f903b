"""``/metrics`` for Prometheus: computed from Redis at each scrape.

There are several receiver processes and several workers, and none of them counts in its
own memory: what is shown is the same whichever process answers, and survives all of
them. Label sets are fixed (state, stage, outcome, kind, verdict, repository); the name
of an image is never one, for there is no end of them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from webhook.web.login import Login
from workers.care.head_watch import HeadStanding
from workers.care.queue_standing import RECONCILER, WORKER, QueueStanding
from workers.care.whitelists import WARNED_SECONDS, WhitelistStanding
from workers.config.disk_space import STATE, DiskSpace
from workers.jobqueue import JobQueue
from workers.ledger import (
    Ledger,
    LedgerCounters,
    LedgerUnavailable,
    Outcome,
    State,
    Verdict,
)
from workers.policy import PolicyFile

PREFIX = "cvmfs_webhook"


def blueprint(  # noqa: PLR0913 - what is shown has many sources, each by its name
    *,
    ledger: Ledger,
    queue: JobQueue,
    policy: PolicyFile,
    login: Login,
    kinds: Mapping[str, str] = MappingProxyType({}),
    whitelists: Callable[[], Sequence[WhitelistStanding]] = tuple,
    heads: Callable[[], Sequence[HeadStanding]] = tuple,
    disks: Callable[[], Sequence[DiskSpace]] = tuple,
    standing: QueueStanding,
    clock: Callable[[], float] = time.time,
) -> Blueprint:
    """Return the route; it is the operator's (``authorization`` in a scrape config).

    Args:
        ledger: has states and counters.
        queue: has the jobs that wait.
        policy: may be broken.
        login: knows the operator.
        kinds: of the configured sources, by name; others count as ``other``.
        whitelists: what is known of those of the repositories.
        heads: what is known of the heads of the repositories.
        disks: what is known of the room for them.
        standing: knows who is missed, and when the registries were asked last.
        clock: seconds since the epoch.
    """
    pages = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(
        _Collector(
            ledger,
            queue,
            policy,
            kinds,
            lambda: _of_repositories(whitelists(), heads(), disks(), clock()),
            standing,
            clock,
        )
    )
    pages.before_request(login.guard_json)

    @pages.get("/metrics")
    def metrics() -> Response:
        answer = Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return pages


class _Collector(Collector):
    """Asks ledger, queue and policy whenever Prometheus asks us."""

    def __init__(
        self,
        ledger: Ledger,
        queue: JobQueue,
        policy: PolicyFile,
        kinds: Mapping[str, str],
        repositories: Callable[[], Iterable[Metric]],
        standing: QueueStanding,
        clock: Callable[[], float],
    ) -> None:
        self._kinds = kinds
        self._ledger = ledger
        self._queue = queue
        self._policy = policy
        self._repositories = repositories
        self._standing = standing
        self._clock = clock

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering does not ask Redis already."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield each family; without Redis only the ones that do not need it."""
        rules = len(self._policy.current().rules)
        yield _gauge("policy_rules", "Rules of the policy in force.", rules)
        yield _gauge(
            "policy_ok",
            "1 when the policy file as it is now is in force, 0 when an older one is.",
            self._policy.problem is None,
        )
        yield from self._repositories()
        is_durable = self._ledger.durability_problem() is None
        yield _gauge(
            "redis_durable", "1 when what Redis accepts is on disk.", is_durable
        )
        takes_writes = self._ledger.write_problem() is None
        yield _gauge("redis_takes_writes", "1 when Redis takes writes.", takes_writes)
        try:
            families = list(self._from_redis())
        except LedgerUnavailable:
            families = []
        yield _gauge("redis_up", "1 when Redis answers.", bool(families))
        yield from families

    def _from_redis(self) -> Iterator[Metric]:
        counts = self._ledger.counts()
        images = GaugeMetricFamily(
            f"{PREFIX}_images", "Images by state.", labels=["state"]
        )
        for state in State:
            images.add_metric([state.value], counts[state])
        yield images
        counters = self._ledger.counters()
        yield from _run_counters(counters)
        yield from self._delivery_counters(counters)
        yield _gauge(
            "registries_asked_timestamp_seconds",
            "When the registries were asked last for what is watched; 0: never.",
            self._standing.looks.last_asked() or 0.0,
        )
        missed = self._standing.warnings()
        yield _gauge(
            "reconciler_missing",
            "1 while the policy watches registries, and nobody asks them.",
            RECONCILER in missed,
        )
        yield _gauge(
            "worker_missing",
            "1 while work has waited for long, and no worker looks after it.",
            WORKER in missed,
        )
        yield _gauge("workers", "Workers that are registered.", self._queue.workers())
        yield _gauge("queue_jobs", "Jobs that wait for a worker.", self._queue.depth())
        yield _gauge(
            "oldest_waiting_seconds",
            "For how long the image that waits longest has waited; 0: none waits.",
            self._longest_wait(counts[State.QUEUED]),
        )

    def _delivery_counters(self, counters: LedgerCounters) -> Iterator[Metric]:
        """Yield what came in by the kind of its source, for sources come and go."""
        kinds = {*self._kinds.values(), "other"}
        deliveries = dict.fromkeys(kinds, 0)
        for source, number in counters.deliveries.items():
            deliveries[self._kinds.get(source, "other")] += number
        family = CounterMetricFamily(
            f"{PREFIX}_deliveries", "Authenticated notifications.", labels=["kind"]
        )
        for kind in sorted(kinds):
            family.add_metric([kind], deliveries[kind])
        yield family
        events = {(kind, verdict): 0 for kind in sorted(kinds) for verdict in Verdict}
        for (source, verdict), number in counters.events.items():
            events[self._kinds.get(source, "other"), verdict] += number
        family = CounterMetricFamily(
            f"{PREFIX}_events",
            "Events in notifications, by what became of them.",
            labels=["kind", "verdict"],
        )
        for (kind, verdict), number in events.items():
            family.add_metric([kind, verdict.value], number)
        yield family

    def _longest_wait(self, waiting: int) -> float:
        if not waiting:
            return 0.0
        last = self._ledger.images(waiting - 1, 1, state=State.QUEUED).images
        return max(0.0, self._clock() - last[0].since) if last else 0.0


def _run_counters(counters: LedgerCounters) -> Iterator[Metric]:
    runs = CounterMetricFamily(
        f"{PREFIX}_runs", "Runs that ended, by outcome.", labels=["outcome"]
    )
    for outcome in Outcome:
        runs.add_metric([outcome.value], counters.runs[outcome])
    yield runs
    seconds = CounterMetricFamily(
        f"{PREFIX}_stage_seconds", "Time that runs spent, by stage.", labels=["stage"]
    )
    for stage in filter(lambda state: state.is_stage, State):
        seconds.add_metric([stage.value], counters.seconds.get(stage, 0.0))
    yield seconds


def _of_repositories(
    whitelists: Sequence[WhitelistStanding],
    heads: Sequence[HeadStanding],
    disks: Iterable[DiskSpace],
    now: float,
) -> Iterator[Metric]:
    ends = GaugeMetricFamily(
        f"{PREFIX}_whitelist_ends_timestamp_seconds",
        "When the whitelist of a repository holds no more; 0: it cannot be read.",
        labels=["repository"],
    )
    unrenewed = GaugeMetricFamily(
        f"{PREFIX}_whitelist_unrenewed",
        "1 while a whitelist has less than ten days left: nobody renews it.",
        labels=["repository"],
    )
    for whitelist in whitelists:
        ends.add_metric([whitelist.fqrn], whitelist.ends or 0.0)
        soon = whitelist.ends is not None and whitelist.ends - now < WARNED_SECONDS
        unrenewed.add_metric([whitelist.fqrn], float(soon))
    yield ends
    yield unrenewed
    went_back = GaugeMetricFamily(
        f"{PREFIX}_repository_went_back",
        "1 while a repository is older than what is known, so nothing is published.",
        labels=["repository"],
    )
    set_aside = GaugeMetricFamily(
        f"{PREFIX}_ready_commits_set_aside",
        "Entries of the queue of commits that no signer has written, of a week.",
        labels=["repository"],
    )
    for standing in heads:
        went_back.add_metric([standing.fqrn], float(standing.objection is not None))
        set_aside.add_metric([standing.fqrn], standing.set_aside)
    yield went_back
    yield set_aside
    seen = [*disks]
    free = GaugeMetricFamily(
        f"{PREFIX}_repository_free_bytes",
        "Free space of the disk of a repository, where that is seen from here.",
        labels=["repository"],
    )
    for disk in seen:
        if disk.name != STATE:
            free.add_metric([disk.name], disk.free)
    yield free
    yield _gauge(
        "disks_below_floor",
        "Disks, of repositories or of the state, on which work waits for room.",
        sum(disk.is_low for disk in seen),
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=float(value))
