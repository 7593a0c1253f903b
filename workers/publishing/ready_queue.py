"""Redis as the place where ready batches wait for a commit; see ``group.py``.

Redis, and not the storage: all workers of a repository share one already, whether the
repository lies in a folder or in a bucket; it wakes those who wait; and it is who knows
whether the fence of a batch, the lease of its run, still holds.

Per repository one hash of entries, by ids that begin with the time; per entry a list
of what its owner is told; and one list of what was set aside. Whatever nobody comes for
runs out by itself. Others may write here, so no bytes at all are taken for granted.
"""

import json
import time
from collections.abc import Mapping, Sequence

import redis

from workers.ledger import Lease, Ledger, LedgerUnavailable
from workers.ledger.odd import typed
from workers.ledger.unavailable import as_ledger_error
from workers.publishing.together import CALLED, QueueAway, UnknownFence

_PREFIX = "cvmfs-webhook:ready"
_ENTRY_SECONDS = 3600
_ANSWER_SECONDS = 60
# Of an image of 127 layers in all formats it is a tenth of that.
_LARGEST_ENTRY_BYTES = 4 << 20
_ASIDE_PREFIX = "cvmfs-webhook:set-aside"
_ASIDE_SECONDS = 7 * 24 * 3600
_ASIDE_KEPT = 100


class ReadyBatches:
    """The queue of one repository; see ``ReadyQueue``.

    Args:
        connection: shared with all workers.
        ledger: whose leases the fences are.
        fqrn: of the repository.
        patience_seconds: how long a batch waits for its commit.
    """

    def __init__(
        self,
        connection: redis.Redis,
        ledger: Ledger,
        fqrn: str,
        *,
        patience_seconds: float = 600.0,
    ) -> None:
        self.patience_seconds = patience_seconds
        self._redis = connection
        self._ledger = ledger
        self._entries = f"{_PREFIX}:{fqrn}"
        self._aside = f"{_ASIDE_PREFIX}:{fqrn}"

    def add(self, entry_id: str, entry: str) -> None:
        """Lay a sealed entry down."""
        if len(entry) > _LARGEST_ENTRY_BYTES:
            raise QueueAway(f"{len(entry)} bytes are too many for the queue")
        with as_ledger_error(QueueAway), self._redis.pipeline() as pipeline:
            pipeline.hset(self._entries, entry_id, entry)
            pipeline.expire(self._entries, _ENTRY_SECONDS)
            pipeline.execute()

    def entries(self, most: int) -> dict[str, str]:
        """Return the oldest entries by id, oldest first, and not more than ``most``.

        One that is larger than any of ours comes without its text.
        """
        with as_ledger_error(QueueAway):
            ids = sorted(self._ids(), key=_raw)[:most]
            if not ids:
                return {}
            with self._redis.pipeline(transaction=False) as pipeline:
                for entry_id in ids:
                    pipeline.hstrlen(self._entries, entry_id)
                sizes = pipeline.execute()
            fit = [
                entry_id
                for entry_id, size in zip(ids, sizes, strict=True)
                if size <= _LARGEST_ENTRY_BYTES
            ]
            found = self._redis.hmget(self._entries, fit) if fit else []
        texts = dict(zip(fit, found, strict=True))
        return {_text(entry_id): _text(texts.get(entry_id) or "") for entry_id in ids}

    def set_aside(self, entries: Mapping[str, str]) -> None:
        """Take entries out that nobody may commit, and note why."""
        with as_ledger_error(QueueAway), self._redis.pipeline() as pipeline:
            for entry_id, why in entries.items():
                pipeline.hdel(self._entries, _raw(entry_id))
                note = {"time": time.time(), "entry": entry_id[:40], "why": why[:200]}
                pipeline.lpush(self._aside, json.dumps(note))
            pipeline.ltrim(self._aside, 0, _ASIDE_KEPT - 1)
            pipeline.expire(self._aside, _ASIDE_SECONDS)
            pipeline.execute()

    def answer(self, answers: Mapping[str, str]) -> None:
        """Take entries out, by their ids, and tell their owners why."""
        with as_ledger_error(QueueAway), self._redis.pipeline() as pipeline:
            pipeline.hdel(self._entries, *map(_raw, answers))
            for entry_id, text in answers.items():
                pipeline.rpush(self._told(entry_id), text)
                pipeline.expire(self._told(entry_id), _ANSWER_SECONDS)
            pipeline.execute()

    def call(self) -> None:
        """Tell the owner of the oldest entry that the lock is free."""
        with as_ledger_error(QueueAway):
            ids = self._ids()
            if ids:
                told = self._told(_text(min(ids, key=_raw)))
                with self._redis.pipeline() as pipeline:
                    pipeline.rpush(told, CALLED)
                    pipeline.expire(told, _ANSWER_SECONDS)
                    pipeline.execute()

    def wait(self, entry_id: str, seconds: float) -> list[str]:
        """Return what the owner of an entry is told; nothing if nothing in time."""
        told = self._told(entry_id)
        with as_ledger_error(QueueAway):
            if seconds:
                found = self._redis.blpop([told], seconds)
                return [_text(found[1])] if found else []
            # A call to lead says nothing to one who leads already.
            texts = [_text(text) for text in self._redis.lrange(told, 0, -1)]
        return [text for text in texts if text != CALLED]

    def withdraw(self, entry_id: str) -> None:
        """Take an entry out that nobody waits for any more."""
        with as_ledger_error(QueueAway):
            self._redis.hdel(self._entries, entry_id)

    def standing(self, fences: Sequence[str]) -> list[bool]:
        """Tell of each fence whether it holds."""
        leases = [_lease(fence) for fence in fences]
        try:
            return self._ledger.may_publish(leases)
        except LedgerUnavailable as error:
            raise QueueAway(str(error)) from error

    def reference(self, fence: str) -> str:
        """Return the reference of the run; raises UnknownFence."""
        return _lease(fence).reference

    def _ids(self) -> list[bytes | str]:
        key = self._entries
        return list(typed(self._redis, key, lambda: self._redis.hkeys(key)))

    def _told(self, entry_id: str) -> bytes:
        return _raw(f"{self._entries}:{entry_id}")


def count_set_aside(connection: redis.Redis, fqrn: str) -> int:
    """Return how many entries of a repository's queue were set aside of late.

    Raises:
        QueueAway: Redis does not answer as it should.
    """
    key = f"{_ASIDE_PREFIX}:{fqrn}"
    with as_ledger_error(QueueAway):
        return int(typed(connection, key, lambda: connection.llen(key)))


def fence_token(lease: Lease) -> str:
    """Return what ``standing`` needs to know of a lease."""
    return json.dumps([lease.reference, lease.token])


def _lease(token: str) -> Lease:
    try:
        reference, secret, *_ = json.loads(token)
        if not all(isinstance(one, str) for one in (reference, secret)):
            raise UnknownFence(f"a fence of {reference!r:.40}")
    except (ValueError, TypeError) as error:
        raise UnknownFence(f"{token!r:.40} is no fence") from error
    return Lease(reference, secret, 0, 1, 0, hint=None, forced=False)


def _text(value: bytes | str) -> str:
    """Return a reply as text, whatever its bytes; ``_raw`` gives them back."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def _raw(value: bytes | str) -> bytes:
    return value.encode(errors="surrogateescape") if isinstance(value, str) else value
