"""Which image repositories the registries are asked for, and how often.

Those that a rule names; those that were pushed before; and where a rule has a ``*``
those that the registry lists, as far as it does that.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator

from workers.errors import ANSWERED, TransientError
from workers.policy import Policy, Rule
from workers.policy.watching import every_seconds
from workers.reference import DOCKER_HUB, InvalidReference, Reference
from workers.registry import RegistryClient

log = logging.getLogger(__name__)

# A registry that does not answer is left alone for so long, or as long as it wants.
_REST_SECONDS = 60.0
# One answer may be bad because of what was asked for; two in a row are the registry's.
_FAILURES_ALLOWED = 2
_NAME_THEM = (
    "name the image repositories in the policy in place of a *, or push each once"
)


class HostBackoff:
    """The registries that are left alone for a while; safe from several threads.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()

    def __contains__(self, host: object) -> bool:
        return self._clock() < self._until.get(str(host), 0.0)

    def answered(self, host: str) -> None:
        """Note that a registry is well."""
        with self._lock:
            self._failures.pop(host, None)

    def failed(self, host: str, error: TransientError) -> None:
        """Note that it is not: it is left alone if it wants that, or fails again."""
        with self._lock:
            failures = self._failures[host] = self._failures.get(host, 0) + 1
            if error.retry_after is None and failures < _FAILURES_ALLOWED:
                return
            seconds = max(error.retry_after or 0.0, _REST_SECONDS)
            self._until[host] = self._clock() + seconds
        log.warning("registry=%s is asked again in %.0f s: %s", host, seconds, error)


class Watched:
    """The image repositories that a policy wants to be looked at.

    Args:
        registry: is asked for the names of others.
        resting: the registries that are not to be asked now.
        clock: seconds since the epoch.
    """

    def __init__(
        self, registry: RegistryClient, resting: HostBackoff, clock: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._resting = resting
        self._clock = clock
        self._listed: dict[str, frozenset[str]] = {}
        self._listed_at: dict[str, float] = {}
        self.problems: dict[str, str] = {}
        """Why a registry, or a namespace, did not list what it has; by its name."""
        self.unlisted: dict[str, str] = {}
        """Likewise, where it will not later either, and what helps."""

    def intervals(
        self, policy: Policy, known: Iterable[str], *, anew: bool
    ) -> dict[str, int]:
        """Return how often each image repository is to be looked at, by name.

        Args:
            policy: in force.
            known: names of all that were pushed or looked at before.
            anew: ask the registries for their lists now, whenever that was last.
        """
        self.unlisted = {
            place: why
            for place, why in self.unlisted.items()
            if place in {place for _, place in _places(policy)}
        }
        for pattern in _unlistable(policy):
            self.unlisted[pattern] = f"nobody lists what that could be: {_NAME_THEM}"
        names: set[str] = {name for name in known if _any_tag(name) is not None}
        due: set[str] = set()
        for rule, place in _places(policy):
            listed_at = self._listed_at.get(place, -math.inf)
            if anew or self._clock() >= listed_at + every_seconds(rule):
                due.add(place)
        for place in sorted(due):
            self._list(place)
        for listed in self._listed.values():
            names |= listed
        return _intervals(policy, names)

    def _list(self, place: str) -> None:
        """Ask a registry for the image repositories at a place that it can list."""
        host, _, namespace = place.partition("/")
        if host in self._resting:
            self.problems[place] = f"{host} is left alone for now"
            return
        try:
            found = frozenset(self._registry.repositories(host, namespace or None))
        except ANSWERED as error:
            # As most registries do; what was pushed once is known all the same.
            log.info("registry=%s lists no repositories to us: %s", host, error)
            self.problems.pop(place, None)
            self.unlisted[place] = f"lists nothing to us ({error}): {_NAME_THEM}"
        except TransientError as error:
            self._resting.failed(host, error)
            self.problems[place] = str(error)
            return
        else:
            self._resting.answered(host)
            self.problems.pop(place, None)
            self.unlisted.pop(place, None)
            self._listed[place] = frozenset(f"{host}/{name}" for name in found)
        self._listed_at[place] = self._clock()


def _places(policy: Policy) -> Iterator[tuple[Rule, str]]:
    """Yield what can be listed for the rules: a registry, or one of its namespaces."""
    for rule in policy.rules:
        host, _, path = rule.canonical_pattern.partition("/")
        if rule.watch is None or "*" in host or "*" not in path:
            continue
        namespace = path.partition("/")[0]
        if host != DOCKER_HUB:
            yield rule, host
        elif "*" not in namespace:
            yield rule, f"{host}/{namespace}"


def _unlistable(policy: Policy) -> Iterator[str]:
    """Yield the patterns of rules for which there is nobody to ask for names."""
    for rule in policy.rules:
        if rule.watch is None or "*" not in rule.canonical_pattern:
            continue
        host, _, path = rule.canonical_pattern.partition("/")
        is_any_namespace = host == DOCKER_HUB and "*" in path.partition("/")[0]
        if "*" in host or is_any_namespace:
            yield rule.canonical_pattern


def _intervals(policy: Policy, names: Iterable[str]) -> dict[str, int]:
    intervals: dict[str, int] = {}
    for rule in policy.rules:
        if rule.watch is None and rule.keep is None:
            continue
        every = every_seconds(rule)
        own = set(names)
        if rule.watch is not None and "*" not in rule.canonical_pattern:
            own.add(rule.canonical_pattern)
        for name in own:
            reference = _any_tag(name)
            if reference is not None and rule.matches_name(reference):
                intervals[name] = min(every, intervals.get(name, every))
    return intervals


def _any_tag(name: str) -> Reference | None:
    """Return a reference of an image repository; None: it has no name of one."""
    try:
        return Reference.parse(f"{name}:latest")
    except InvalidReference:
        return None
