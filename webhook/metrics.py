"""``/metrics`` for Prometheus: computed from Redis at each scrape.

There are several receiver processes and several workers, and none of them counts in its
own memory: what is shown is the same whichever process answers, and survives all of
them. Label sets are fixed (state, outcome); the name of an image is never one, for
there is no end of them.
"""

import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from webhook.login import Login
from workers.jobqueue import JobQueue
from workers.ledger import Ledger, LedgerUnavailable, State
from workers.policy import PolicyFile

PREFIX = "cvmfs_webhook"


def blueprint(
    *,
    ledger: Ledger,
    queue: JobQueue,
    policy: PolicyFile,
    login: Login,
    clock: Callable[[], float] = time.time,
) -> Blueprint:
    """Return the route; it is the operator's (``authorization`` in a scrape config)."""
    pages = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(_Collector(ledger, queue, policy, clock))
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
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._policy = policy
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
        is_durable = self._ledger.durability_problem() is None
        yield _gauge(
            "redis_durable", "1 when what Redis accepts is on disk.", is_durable
        )
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
        yield _gauge("queue_jobs", "Jobs that wait for a worker.", self._queue.depth())
        yield _gauge(
            "oldest_waiting_seconds",
            "For how long the image that waits longest has waited; 0: none waits.",
            self._longest_wait(counts[State.QUEUED]),
        )

    def _longest_wait(self, waiting: int) -> float:
        if not waiting:
            return 0.0
        last = self._ledger.images(waiting - 1, 1, state=State.QUEUED).images
        return max(0.0, self._clock() - last[0].since) if last else 0.0


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=float(value))
