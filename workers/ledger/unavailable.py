"""The one error of the ledger, and how Redis's become it."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from workers.errors import TransientError

# By the first word of its answer. Source: Redis's src/server.c (shared objects).
_REFUSALS = {
    "OOM": "its memory is full: raise its maxmemory",
    "MISCONF": "it cannot save its data: see its log, and make room on its disk",
    "NOREPLICAS": "too few replicas follow it for its min-replicas-to-write",
    "READONLY": "it is a replica: give the URL of the primary in queue.url",
    "NOAUTH": "it wants a password: give it in queue.url",
    "WRONGPASS": "the password or user in queue.url is wrong",
    "NOPERM": "its user may not do what is needed: see its ACL",
    "LOADING": "it still reads its data",
}


class LedgerUnavailable(TransientError):
    """Redis cannot be reached, or cannot keep what it is given."""


@contextmanager
def as_ledger_error(error: type[TransientError] = LedgerUnavailable) -> Iterator[None]:
    """Raise ``error`` from whatever the client of Redis raises in the block."""
    try:
        yield
    except redis.RedisError as exc:
        why = refusal(exc) or exc
        raise error(f"the queue server does not work: {why}") from exc


def refusal(error: redis.RedisError) -> str | None:
    """Say in one line why Redis refuses, and the mend; None if it says nothing known.

    It holds no address and no password.
    """
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return _REFUSALS.get(code)
