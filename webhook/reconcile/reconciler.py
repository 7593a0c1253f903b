"""One more sender: asks the registries on a timer, and tells the intake like any other.

Notifications get lost: senders forget them when they restart, and some never tell of a
deletion. So for each image repository that the policy watches the registry is asked for
its tags and what they lead to, and what is new goes the way of a push: policy, ledger,
queue. For rules with ``keep``, what is gone from the registry or no longer among the
newest goes the way of a deletion; the job asks everything again before it removes.

Essential reading, in order: ``watched.py`` (where to look), ``look.py`` (one look),
``differences.py`` (what counts as new).
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from webhook.intake.intake import NotKept
from webhook.reconcile.look import LookResult, RegistryLook
from webhook.reconcile.watched import HostBackoff, Watched
from workers.errors import ANSWERED, TransientError, WorkerError
from workers.ledger import LedgerUnavailable
from workers.policy import Policy, PolicyFile

log = logging.getLogger(__name__)

_LOOKS_AT_ONCE = 4
# What is to be looked at is made out anew so often, or with a new policy.
_MAKE_OUT_SECONDS = 60.0
# What could not be looked at is tried again after this time, if not before.
_AGAIN_SECONDS = 300


class Reconciler:
    """Asks the registries for what the policy says to watch.

    Args:
        looker: looks at one image repository.
        policy_file: says what to watch.
    """

    def __init__(self, looker: RegistryLook, policy_file: PolicyFile) -> None:
        self._looker = looker
        self._looks = looker.looks
        self._now = looker.ledger.now
        self._policy_file = policy_file
        self._resting = HostBackoff(self._now)
        self._watched = Watched(looker.registry, self._resting, self._now)
        self._intervals: Mapping[str, int] = {}
        self._made_out: tuple[str, float] = ("", 0.0)

    def round(self, *, everything: bool = False) -> Iterator[LookResult]:
        """Look at each image repository that is due, and yield how it went.

        Args:
            everything: whatever was looked at before.

        Raises:
            LedgerUnavailable, NotKept: the rest is for another time.
        """
        policy = self._policy_file.current()
        if not policy.digest:
            return  # there never was one that can be read
        times, now = self._looks.times(), self._now()
        known = _by_repository(self._looker.ledger.references())
        intervals = self._make_out(policy, {*known, *times}, anew=everything)
        self._looks.forget(times.keys() - intervals.keys())
        if everything:
            for place, problem in self._watched.problems.items():
                yield LookResult(place, problem=problem)
            for place, why in self._watched.unlisted.items():
                yield LookResult(place, unlisted=why)
        due = [
            name
            # The longest ago first, so that none waits for ever behind others.
            for name in sorted(intervals, key=lambda name: times.get(name, 0.0))
            # A time to come is from before the clock was set right.
            if everything or not now - intervals[name] < times.get(name, 0.0) <= now
        ]
        with ThreadPoolExecutor(_LOOKS_AT_ONCE, "look") as executor:
            visits = [
                executor.submit(self._visit, name, policy, known.get(name, ()))
                for name in due
            ]
            try:
                for visit in as_completed(visits):
                    yield visit.result()
            finally:
                executor.shutdown(cancel_futures=True)
        self._looks.note_asked()

    def _make_out(
        self, policy: Policy, known: Iterable[str], *, anew: bool
    ) -> Mapping[str, int]:
        """Return how often what is looked at, by name, in seconds."""
        digest, made_out = self._made_out
        now = self._now()
        if anew or digest != policy.digest or now >= made_out + _MAKE_OUT_SECONDS:
            self._intervals = self._watched.intervals(policy, known, anew=anew)
            self._made_out = policy.digest, now
        return self._intervals

    def _visit(self, name: str, policy: Policy, known: Collection[str]) -> LookResult:
        """Look at an image repository, unless somebody does or its registry rests."""
        host = name.partition("/")[0]
        if host in self._resting:
            return LookResult(name, problem=f"{host} is left alone for now")
        with self._looks.claim(name) as is_ours:
            if not is_ours:
                return LookResult(name, problem="another process looks at it now")
            try:
                found, trouble = self._looker.look(name, policy, known)
            except (LedgerUnavailable, NotKept):
                raise
            except Exception as error:  # noqa: BLE001 - of ours, too: see there
                return self._not_seen(name, error)
        if trouble is None:
            self._resting.answered(host)
        else:
            self._resting.failed(host, trouble)
        self._looks.note_asked()
        log.debug(
            "repository=%s tags=%d pushed=%d deleted=%d expired=%d",
            *(name, found.tags, len(found.pushed), len(found.deleted)),
            len(found.expired),
        )
        return found

    def _not_seen(self, name: str, error: Exception) -> LookResult:
        """Say why there was nothing to be seen; it comes again, but not at once."""
        every, delay = self._intervals[name], float(_AGAIN_SECONDS)
        if isinstance(error, TransientError) and not isinstance(error, ANSWERED):
            self._resting.failed(name.partition("/")[0], error)
            delay = max(delay, error.retry_after or 0.0)
        self._looks.postpone(name, self._now() + min(delay, every) - every)
        if isinstance(error, WorkerError):
            log.warning("repository=%s cannot be looked at: %s", name, error)
            return LookResult(name, problem=str(error))
        # A mistake of ours must not keep us from all others.
        log.error("repository=%s", name, exc_info=error)
        return LookResult(name, problem=f"internal error ({type(error).__name__})")


def _by_repository(references: Iterable[str]) -> dict[str, list[str]]:
    """Return references by registry/repository."""
    by_name: dict[str, list[str]] = {}
    for reference in references:
        by_name.setdefault(reference.rpartition(":")[0], []).append(reference)
    return by_name
