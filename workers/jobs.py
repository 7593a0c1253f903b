"""The job: a reference that is owed work gets a run, and the ledger hears how it went.

``run`` is what the queue calls. What happens in a run is told in ``workers/run/``;
whether a retry would help is asked in ``run/retrying.py``.

Killed at any instruction, nothing is lost: what was said of the work is in the ledger,
what was stored is found again, and what was published is recognised by its receipt.
"""

import logging
import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

from workers.config import Config, load_config
from workers.errors import TransientError
from workers.jobqueue import worker_name
from workers.ledger import LedgerUnavailable
from workers.policy import PolicyFile
from workers.reference import Reference
from workers.run.heartbeat import Heartbeat, LeaseLost
from workers.run.outcomes import end
from workers.run.run import Run
from workers.wiring import Services

log = logging.getLogger(__name__)


def run(reference: str) -> str:
    """Work off one reference; the function that jobs in the queue name.

    Returns:
        One line for RQ's own pages; the ledger has the truth.
    """
    parsed = Reference.parse(reference)
    try:
        config, policy = _standing(os.environ["CVMFS_WEBHOOK_CONFIG"])
        with Services.open(config) as services:
            return run_job(replace(services, policy=policy), parsed)
    except TransientError as error:
        # What was done is not lost: it is found again by the run that the sweep starts.
        log.warning("reference=%s is left to the sweep: %s", reference, error)
        return f"left to the sweep: {error}"


def prepare() -> None:
    """Read what jobs need, in the worker, before it forks a process for each of them.

    So a job works by the configuration as the worker found it, and by the last good
    policy, while the files are being edited.
    """
    _, policy = _standing(os.environ["CVMFS_WEBHOOK_CONFIG"])
    policy.current()


@cache
def _standing(path: str) -> tuple[Config, PolicyFile]:
    config = load_config(Path(path), os.environ)
    return config, PolicyFile(config.policy)


def run_job(services: Services, reference: Reference) -> str:
    """Take the lease of a reference, do what is owed, and say how it went.

    Raises:
        LedgerUnavailable: it was away for too long; the work is still owed.
    """
    ledger = services.front.ledger
    lease = ledger.begin(str(reference), worker=worker_name())
    if lease is None:
        return "nothing is owed, or another worker has it"
    began = time.monotonic()
    with Heartbeat(ledger, lease) as heartbeat:
        try:
            result = end(Run(services, reference, lease, heartbeat))
        except LeaseLost:
            log.warning("reference=%s another worker took over", reference)
            return "another worker took over"
        again = heartbeat.finish(result)
    log.info(
        "reference=%s %s%s seconds=%.1f digest=%s revision=%s attempt=%d peak_mib=%d",
        reference,
        result.outcome,
        f": {result.reason}" if result.reason else "",
        time.monotonic() - began,
        result.digest or "-",
        result.revision or "-",
        lease.attempt,
        getrusage(RUSAGE_SELF).ru_maxrss >> 10,
    )
    if again is not None:
        try:
            services.front.queue.enqueue_accepted([again])
        except LedgerUnavailable as error:
            log.warning("reference=%s is left to the sweep: %s", reference, error)
    return f"{result.outcome}: {result.reason or result.digest}"
