"""Two jobs that share a layer do its work once.

Whoever wants to make a layer claims it first, and holds the claim until it is
published; whoever finds it claimed waits and then finds it published. A claim saves
work and protects nothing: when Redis is away, or a claim is lost, the work is done
twice and comes to the same objects.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from workers.ledger.odd import drop_endless

log = logging.getLogger(__name__)

_PREFIX = "cvmfs-webhook:claim"
# A dead job's claim is free after this time.
_CLAIM_SECONDS = 30.0
_PROLONG_SECONDS = 8.0
_LOOK_AGAIN_SECONDS = 0.1
# For all claims of a job; a layer that takes longer is made twice.
_PATIENCE_SECONDS = 120.0


class LayerClaims:
    """Claims on layers and trees of a repository, among all workers."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection

    @contextmanager
    def claim(
        self, fqrn: str, digests: Sequence[str], check: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the claims on some digests; waits for those that others hold.

        Args:
            fqrn: the repository that they are made for.
            digests: of layers and image configs.
            check: called while waiting; what it raises ends the waiting.
        """
        with ExitStack() as stack:
            held: list[Lock] = []
            stack.enter_context(_prolonged(held))
            # One slow image must not keep others waiting for ever.
            deadline = time.monotonic() + _PATIENCE_SECONDS
            # All claim in the same order, so nobody waits in a circle.
            for digest in sorted(set(digests)):
                lock = self._connection.lock(
                    f"{_PREFIX}:{fqrn}:{digest}",
                    timeout=_CLAIM_SECONDS,
                    thread_local=False,
                )
                if _wait_for(self._connection, lock, check, deadline):
                    stack.callback(_release, lock)
                    held.append(lock)
            yield


def _wait_for(
    connection: redis.Redis, lock: Lock, check: Callable[[], None], deadline: float
) -> bool:
    pause = Event()
    while True:
        try:
            if lock.acquire(blocking=False):
                return True
            drop_endless(connection, str(lock.name), _CLAIM_SECONDS)
        except RedisError as error:
            log.warning("no claim on %s: %s", lock.name, error)
            return False
        check()
        if time.monotonic() > deadline:
            log.warning("no claim on %s: another job has had it for long", lock.name)
            return False
        pause.wait(_LOOK_AGAIN_SECONDS)


@contextmanager
def _prolonged(held: list[Lock]) -> Iterator[None]:
    """Keep the claims in a list alive, which may grow meanwhile."""
    stop = Event()

    def prolong() -> None:
        while not stop.wait(_PROLONG_SECONDS):
            for lock in tuple(held):
                try:
                    lock.reacquire()
                except (LockError, RedisError) as error:
                    log.warning("a claim on %s is lost: %s", lock.name, error)

    thread = Thread(target=prolong, name="claims", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _release(lock: Lock) -> None:
    try:
        lock.release()
    except (LockError, RedisError) as error:
        log.debug("%s was not ours any more: %s", lock.name, error)
