"""The one error of the ledger, and how Redis's become it."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from workers.errors import TransientError


class LedgerUnavailable(TransientError):
    """Redis cannot be reached, or cannot keep what it is given."""


@contextmanager
def as_ledger_error(error: type[TransientError] = LedgerUnavailable) -> Iterator[None]:
    """Raise ``error`` from whatever the client of Redis raises in the block."""
    try:
        yield
    except redis.RedisError as exc:
        raise error(f"the queue server does not work: {exc}") from exc
