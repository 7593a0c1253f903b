"""Whether what a Redis accepts could be lost: the first promise hangs on it."""

from typing import Any

import redis

from workers.ledger.odd import PREFIX
from workers.ledger.reading import as_text
from workers.ledger.unavailable import refusal

# Setting, the only value that keeps the promise, and what another value means.
# https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
_SETTINGS = (
    ("appendonly", "yes", "it keeps no append-only file"),
    ("appendfsync", "always", "it answers before its file is on disk"),
    ("no-appendfsync-on-rewrite", "no", "it skips syncs while it rewrites its file"),
    ("maxmemory-policy", "noeviction", "it may throw records away"),
)


# Written to be seen to be written.
_PROBE = f"{PREFIX}probe"


def write_problem(connection: redis.Redis) -> str | None:
    """Say in one line why Redis would not take a write; None when it takes one.

    Never raises. It says no address, as everybody may read it.
    """
    try:
        connection.set(_PROBE, "1")
    except redis.ResponseError as exc:
        return f"takes no writes: {refusal(exc) or 'see its log'}"
    except redis.RedisError as exc:
        return refusal(exc) or "does not answer"
    return None


def durability_problem(connection: redis.Redis) -> str | None:
    """Say in one line why what Redis accepts could be lost; None when it is safe.

    Never raises: a Redis that cannot be asked is a problem too.
    """
    try:
        replication, persistence, *replies = _said(connection)
        if replication.get("role") != "master":
            # It may have been the primary until now: such connections stay open.
            connection.connection_pool.disconnect(inuse_connections=False)
            replication, persistence, *replies = _said(connection)
    except redis.ResponseError as exc:
        return (
            f"Redis does not say how it keeps data ({exc}); allow it CONFIG GET and "
            "INFO, or set queue.durability: trusted"
        )
    except redis.RedisError as exc:
        return f"Redis does not answer: {refusal(exc) or exc}"
    settings = {
        as_text(key): as_text(value)
        for reply in replies
        for key, value in reply.items()
    }
    if replication.get("role") != "master":
        return "Redis is a replica and takes no writes; give the URL of the primary"
    for name, wanted, meaning in _SETTINGS:
        if settings.get(name) != wanted:
            return (
                f"Redis has {name} {settings.get(name, 'unknown')}: {meaning}; "
                f"set {name} {wanted}, or queue.durability: trusted"
            )
    if persistence.get("aof_last_write_status") != "ok":
        return "Redis could not write its append-only file; see its log and its disk"
    return None


def _said(connection: redis.Redis) -> list[Any]:
    # In one round trip: notifications wait for the answer.
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.info("replication")
        pipeline.info("persistence")
        for name, _, _ in _SETTINGS:
            pipeline.config_get(name)
        return pipeline.execute()
