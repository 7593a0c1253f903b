"""Whether what a Redis accepts could be lost: the first promise hangs on it."""

import redis

from workers.ledger.reading import as_text

# Setting, the only value that keeps the promise, and what another value means.
# https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
_SETTINGS = (
    ("appendonly", "yes", "it keeps no append-only file"),
    ("appendfsync", "always", "it answers before its file is on disk"),
    ("no-appendfsync-on-rewrite", "no", "it skips syncs while it rewrites its file"),
    ("maxmemory-policy", "noeviction", "it may throw records away"),
)


def durability_problem(connection: redis.Redis) -> str | None:
    """Say in one line why what Redis accepts could be lost; None when it is safe.

    Never raises: a Redis that cannot be asked is a problem too.
    """
    try:
        replication = connection.info("replication")
        persistence = connection.info("persistence")
        settings: dict[str, str] = {}
        for name, _, _ in _SETTINGS:
            reply = connection.config_get(name)
            settings |= {as_text(k): as_text(v) for k, v in reply.items()}
    except redis.ResponseError as exc:
        return (
            f"Redis does not say how it keeps data ({exc}); allow it CONFIG GET and "
            "INFO, or set queue.durability: trusted"
        )
    except redis.RedisError as exc:
        return f"Redis does not answer: {exc}"
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
