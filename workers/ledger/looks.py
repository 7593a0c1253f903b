"""What was seen when the registries were last asked, and when that was.

Kept beside the ledger for whoever asks on a timer, so that a restart neither asks
everything again at once nor takes for new what has been there for years. Losing it
costs a look: it is then made anew.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import redis

from workers.ledger.lookups import PREFIX
from workers.ledger.reading import as_text
from workers.ledger.unavailable import translated

_TIMES = f"{PREFIX}looks"
_SEEN = f"{PREFIX}look:"
_CLAIM = f"{PREFIX}looking:"
_ROUND = f"{PREFIX}round"
# Whoever died over a look leaves it to others after this time.
_CLAIM_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """What an image repository had at the last look.

    Attributes:
        tags: all of them.
        digests: of those tags that were asked for.
        fetched: of those whose rule wants what was there before, too; a part of
            ``digests``.
    """

    tags: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)
    fetched: frozenset[str] = frozenset()


class Looks:
    """The memory of who asks the registries on a timer.

    Every method raises LedgerUnavailable when Redis does not answer as it should.

    Args:
        connection: to the Redis of the ledger.
        clock: seconds since the epoch.
    """

    def __init__(
        self, connection: redis.Redis, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = connection
        self._clock = clock

    def times(self) -> dict[str, float]:
        """Return when each image repository was looked at last, by name."""
        with translated():
            reply = self._redis.zrange(_TIMES, 0, -1, withscores=True)
        scored = cast("list[tuple[bytes | str, float]]", reply)
        return {as_text(name): score for name, score in scored}

    def seen(self, name: str) -> Seen | None:
        """Return what a repository had; None if it was never looked at."""
        with translated():
            text = self._redis.get(_SEEN + name)
        if text is None:
            return None
        said = json.loads(as_text(text))
        return Seen(
            frozenset(said["tags"]), said["digests"], frozenset(said["fetched"])
        )

    def remember(self, name: str, seen: Seen) -> None:
        """Keep what a repository has, and that it was looked at now."""
        text = json.dumps(
            {
                "tags": sorted(seen.tags),
                "digests": dict(seen.digests),
                "fetched": sorted(seen.fetched),
            }
        )
        with translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_SEEN + name, text)
            pipeline.zadd(_TIMES, {name: self._clock()})
            pipeline.execute()

    def postpone(self, name: str) -> None:
        """Let a repository count as looked at, whatever it was last."""
        with translated():
            self._redis.zadd(_TIMES, {name: self._clock()})

    def forget(self, names: Collection[str]) -> None:
        """Forget repositories that nobody wants to be looked at any more."""
        if names:
            with translated(), self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(*(_SEEN + name for name in names))
                pipeline.zrem(_TIMES, *names)
                pipeline.execute()

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Give whether this process may look at a repository: no two do at a time.

        A look that takes very long may be doubled, which costs time only.
        """
        with translated():
            is_ours = self._redis.set(_CLAIM + name, "1", nx=True, ex=_CLAIM_SECONDS)
        try:
            yield bool(is_ours)
        finally:
            if is_ours:
                with translated():
                    self._redis.delete(_CLAIM + name)

    def note_round(self) -> None:
        """Say that everything that was due has been looked at."""
        with translated():
            self._redis.set(_ROUND, self._clock())

    def last_round(self) -> float | None:
        """Return when that was said last, in seconds since the epoch."""
        with translated():
            text = self._redis.get(_ROUND)
        return None if text is None else float(as_text(text))
