"""The one room that knows RQ: jobs go in here, and the worker class comes from here."""

from collections.abc import Iterable

import redis

from workers.config import Config
from workers.ledger import Accepted

JOB_FUNCTION = "workers.jobs.run"


class JobQueue:
    """Carries references to workers. What it loses the ledger's sweep puts in again."""

    def __init__(
        self, connection: redis.Redis, *, function: str = JOB_FUNCTION
    ) -> None:
        raise NotImplementedError

    def enqueue(self, reference: str, job_id: str) -> None:
        """Put one job in."""
        raise NotImplementedError

    def enqueue_accepted(self, accepted: Iterable[Accepted]) -> int:
        """Put in every job that the ledger asks for, in one round trip; count them."""
        raise NotImplementedError

    def queued_ids(self) -> set[str]:
        """Return the ids of the jobs that wait."""
        raise NotImplementedError

    def depth(self) -> int:
        """Return how many jobs wait."""
        raise NotImplementedError


def run_worker(config: Config, *, burst: bool = False) -> None:
    """Work until told to stop; with ``burst`` until nothing is owed."""
    raise NotImplementedError


def worker_name(pid: int | None = None) -> str:
    """Return the name under which a process of this machine takes leases."""
    raise NotImplementedError
