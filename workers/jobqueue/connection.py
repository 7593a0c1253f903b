"""The connection to the queue: to the configured Redis, or to the embedded server."""

from pathlib import Path

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from workers.config import Config
from workers.errors import TransientError


class NoQueue(TransientError):
    """There is no queue to connect to."""


def embedded_folder(state: Path) -> Path:
    """Return where the embedded server of a state folder keeps its data."""
    return state / "queue"


def queue_url(config: Config) -> str:
    """Return the URL of the queue; it holds a password.

    Raises:
        NoQueue: the queue is the embedded server, which was never started.
    """
    if config.queue.url is not None:
        return config.queue.url.reveal()
    try:
        return (embedded_folder(config.state) / "url").read_text("utf-8").strip()
    except OSError as exc:
        raise NoQueue(
            f"no queue: {config.state} holds no embedded one; start cvmfs-webhook up, "
            "or set queue.url"
        ) from exc


def connect(
    config: Config, *, patience_seconds: float = 3.0, timeout_seconds: float = 5.0
) -> redis.Redis:
    """Return a client of the queue; it connects when it is first used.

    Args:
        config: names the queue.
        patience_seconds: about how long a server that is away is asked again.
        timeout_seconds: for one answer.
    """
    return connect_url(
        queue_url(config),
        patience_seconds=patience_seconds,
        timeout_seconds=timeout_seconds,
    )


def connect_url(
    url: str, *, patience_seconds: float = 3.0, timeout_seconds: float = 5.0
) -> redis.Redis:
    """Return a client of the Redis at ``url``; see ``connect``."""
    cap = 1.0
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=2.0,
        socket_timeout=timeout_seconds,
        socket_keepalive=True,
        health_check_interval=30,
        # The waits are random between 0 and the cap, so half of it on average.
        retry=Retry(
            ExponentialWithJitterBackoff(cap=cap, base=0.05),
            retries=max(1, round(2 * patience_seconds / cap)),
        ),
    )
