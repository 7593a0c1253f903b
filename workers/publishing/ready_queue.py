"""Redis as the place where ready batches wait for a commit; see ``group.py``.

Redis, and not the storage: all workers of a repository share one already, whether the
repository lies in a folder or in a bucket; it wakes those who wait; and it is who knows
whether the fence of a batch, the lease of its run, still holds.

Per repository one hash of entries, by ids that begin with the time; per entry a list
of what its owner is told. Whatever nobody comes for runs out by itself.
"""

import json
import secrets
import time
from collections.abc import Mapping, Sequence

import redis

from workers.ledger import Lease, Ledger, LedgerUnavailable
from workers.ledger.unavailable import as_ledger_error
from workers.publishing.group import CALLED, QueueAway, QueuedBatch

_PREFIX = "cvmfs-webhook:ready"
_ENTRY_SECONDS = 3600
_ANSWER_SECONDS = 60


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

    def add(self, fence: str, batch: str) -> str:
        """Lay a batch down; return the id of its entry."""
        entry_id = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
        with as_ledger_error(QueueAway), self._redis.pipeline() as pipeline:
            # Neither has a line break: both are JSON.
            pipeline.hset(self._entries, entry_id, f"{fence}\n{batch}")
            pipeline.expire(self._entries, _ENTRY_SECONDS)
            pipeline.execute()
        return entry_id

    def entries(self) -> list[QueuedBatch]:
        """Return all entries, oldest first."""
        with as_ledger_error(QueueAway):
            found = self._redis.hgetall(self._entries)
        entries = []
        for entry_id in sorted(found):
            fence, _, batch = _text(found[entry_id]).partition("\n")
            entries.append(QueuedBatch(_text(entry_id), fence, batch))
        return entries

    def answer(self, answers: Mapping[str, str]) -> None:
        """Take entries out, by their ids, and tell their owners why."""
        with as_ledger_error(QueueAway), self._redis.pipeline() as pipeline:
            pipeline.hdel(self._entries, *answers)
            for entry_id, text in answers.items():
                pipeline.rpush(self._told(entry_id), text)
                pipeline.expire(self._told(entry_id), _ANSWER_SECONDS)
            pipeline.execute()

    def call(self) -> None:
        """Tell the owner of the oldest entry that the lock is free."""
        with as_ledger_error(QueueAway):
            ids = self._redis.hkeys(self._entries)
            if ids:
                told = self._told(_text(min(ids)))
                with self._redis.pipeline() as pipeline:
                    pipeline.rpush(told, CALLED)
                    pipeline.expire(told, _ANSWER_SECONDS)
                    pipeline.execute()

    def wait(self, entry_id: str, seconds: float) -> str | None:
        """Return what the owner of an entry is told; ``None`` if nothing in time."""
        told = self._told(entry_id)
        with as_ledger_error(QueueAway):
            if seconds:
                found = self._redis.blpop([told], seconds)
                return _text(found[1]) if found else None
            # A call to lead says nothing to one who leads already.
            texts = [_text(text) for text in self._redis.lrange(told, 0, -1)]
        return next((text for text in texts if text != CALLED), None)

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

    def _told(self, entry_id: str) -> str:
        return f"{self._entries}:{entry_id}"


def fence_token(lease: Lease) -> str:
    """Return what ``standing`` needs to know of a lease."""
    return json.dumps([lease.reference, lease.token, lease.number, lease.overtaken])


def _lease(token: str) -> Lease:
    reference, secret, number, overtaken = json.loads(token)
    return Lease(reference, secret, number, 1, overtaken, hint=None, forced=False)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
