"""What was seen when the registries were last asked, and when that was.

Kept beside the ledger for whoever asks on a timer, so that a restart neither asks
everything again at once nor takes for new what has been there for years. Losing it
costs a look: it is then made anew.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import redis
from redis.exceptions import LockError

from workers.ledger import values
from workers.ledger.odd import PREFIX, drop_endless, is_name, readable, typed
from workers.ledger.reading import as_text
from workers.ledger.unavailable import as_ledger_error

_TIMES = f"{PREFIX}looks"
_SEEN = f"{PREFIX}look:"
_CLAIM = f"{PREFIX}looking:"
_ASKED = f"{PREFIX}asked"
# Whoever died over a look leaves it to others after this time.
_CLAIM_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Told:
    """What was made known of a tag, so that it is not repeated at each look.

    Attributes:
        what: in words of the teller's own.
        time: when, in seconds since the epoch.
    """

    what: str
    time: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What an image repository had at the last look.

    Attributes:
        tags: those that were there, and have been recognised for what they are.
        digests: of the tags that were asked for.
        fetched: of those whose rule wants what was there before, too; a part of
            ``digests``.
        surplus: since when tags are more than their rules keep; seconds.
        told: what was made known of a tag last.
    """

    tags: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)
    fetched: frozenset[str] = frozenset()
    surplus: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)


class Looks:
    """The memory of who asks the registries on a timer.

    Every method raises LedgerUnavailable when Redis does not answer as it should.

    Args:
        connection: to the Redis of the ledger.
        clock: the ledger's; seconds since the epoch.
    """

    def __init__(self, connection: redis.Redis, clock: Callable[[], float]) -> None:
        self._redis = connection
        self._clock = clock

    def times(self) -> dict[str, float]:
        """Return when each image repository was looked at last, by name."""
        with as_ledger_error():
            reply = typed(
                self._redis,
                _TIMES,
                lambda: self._redis.zrange(_TIMES, 0, -1, withscores=True),
            )
        scored = cast("list[tuple[bytes | str, float]]", reply)
        times = {as_text(name): score for name, score in scored}
        return {name: time for name, time in times.items() if is_name(name)}

    def seen(self, name: str) -> Seen | None:
        """Return what a repository had; None if it was never looked at.

        What cannot be read counts as never.
        """
        with as_ledger_error():
            key = _SEEN + name
            text = typed(self._redis, key, lambda: self._redis.get(key))
        texts = [] if text is None else [as_text(text)]
        return next(readable(f"look at {name}", _seen_from_json, texts), None)

    def remember(self, name: str, seen: Seen) -> None:
        """Keep what a repository has, and that it was looked at now."""
        with as_ledger_error(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_SEEN + name, _seen_to_json(seen))
            pipeline.zadd(_TIMES, {name: self._clock()})
            pipeline.execute()

    def postpone(self, name: str, time: float) -> None:
        """Let a repository count as looked at then, although nothing was seen."""
        with as_ledger_error():
            self._redis.zadd(_TIMES, {name: time})

    def forget(self, names: Collection[str]) -> None:
        """Forget repositories that nobody wants to be looked at any more."""
        if names:
            with as_ledger_error(), self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(*(_SEEN + name for name in names))
                pipeline.zrem(_TIMES, *names)
                pipeline.execute()

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Give whether this process may look at a repository: no two do at a time.

        A look that takes very long may be doubled, which costs time only.
        """
        lock = self._redis.lock(
            _CLAIM + name, timeout=_CLAIM_SECONDS, thread_local=False
        )
        with as_ledger_error():
            is_ours = lock.acquire(blocking=False)
            if not is_ours:
                drop_endless(self._redis, _CLAIM + name, _CLAIM_SECONDS)
        try:
            yield is_ours
        finally:
            if is_ours:
                with as_ledger_error(), suppress(LockError):  # it took too long, then
                    lock.release()

    def note_asked(self) -> None:
        """Say that the registries were asked, or that nothing is due."""
        with as_ledger_error():
            self._redis.set(_ASKED, self._clock())

    def last_asked(self) -> float | None:
        """Return when that was said last, in seconds since the epoch."""
        with as_ledger_error():
            text = typed(self._redis, _ASKED, lambda: self._redis.get(_ASKED))
        texts = [] if text is None else [as_text(text)]
        return next(readable("time of the last look", values.number, texts), None)


def _seen_to_json(seen: Seen) -> str:
    return json.dumps(
        {
            "tags": sorted(seen.tags),
            "digests": dict(seen.digests),
            "fetched": sorted(seen.fetched),
            "surplus": dict(seen.surplus),
            "told": {tag: [told.what, told.time] for tag, told in seen.told.items()},
        }
    )


def _seen_from_json(text: str) -> Seen:
    said = json.loads(text)
    return Seen(
        frozenset(map(values.text, said["tags"])),
        {values.text(tag): values.text(each) for tag, each in said["digests"].items()},
        frozenset(map(values.text, said["fetched"])),
        {tag: values.number(since) for tag, since in said["surplus"].items()},
        {
            tag: Told(values.text(what), values.number(time))
            for tag, (what, time) in said["told"].items()
        },
    )
