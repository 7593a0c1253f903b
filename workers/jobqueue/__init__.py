"""The one room that knows RQ.

RQ only carries work: ``carrying.py`` puts jobs in, ``admission.py`` says which jobs may
run at all, ``worker.py`` runs them and sweeps. What is owed, the ledger knows.
"""

from workers.jobqueue.carrying import (
    JOB_FUNCTION,
    JOB_SECONDS,
    QUEUE_NAME,
    JobQueue,
    OutOfTime,
)
from workers.jobqueue.worker import PATIENCE, run_worker, worker_name

__all__ = [
    "JOB_FUNCTION",
    "JOB_SECONDS",
    "PATIENCE",
    "QUEUE_NAME",
    "JobQueue",
    "OutOfTime",
    "run_worker",
    "worker_name",
]
