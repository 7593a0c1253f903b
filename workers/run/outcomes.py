"""The work of a run, and the one result that the ledger is told of it."""

import logging
from dataclasses import replace

from workers.errors import ANSWERED, WorkerError
from workers.jobqueue import JOB_SECONDS, OutOfTime
from workers.jobqueue.last_word import NEWER_PUSH, out_of_time
from workers.jobqueue.memory_limit import is_want_of_memory, too_much
from workers.ledger import LedgerUnavailable, Outcome, RunResult, orders
from workers.run.admitting import NotPublic, Refused, is_public
from workers.run.expire import expire
from workers.run.heartbeat import LeaseLost, Overtaken
from workers.run.publish import publish
from workers.run.remove import remove
from workers.run.restore import restore
from workers.run.retrying import after_error, after_mistake
from workers.run.run import Run

log = logging.getLogger(__name__)


def end(run: Run) -> RunResult:
    """Do the work that the lease orders; return its result, errors included.

    Raises:
        LeaseLost: another run has the lease, so the ledger would refuse a result.
        LedgerUnavailable: the ledger cannot be told a result.
    """
    result = _ended(run)
    if result.outcome in {Outcome.FAILED, Outcome.REFUSED}:
        _discard(run)
    if result.reason is None:
        return result
    # Wherever it is read, the name stands before it.
    return replace(result, reason=result.reason.removeprefix(f"{run.reference}: "))


def _discard(run: Run) -> None:
    """Take back what was stored in vain; what is left, garbage collection finds."""
    for fqrn, publisher in run.services.publishers.items():
        try:
            publisher.discard()
        except Exception as error:  # noqa: BLE001 - the run's own end counts more
            log.warning(
                "reference=%s repository=%s what it stored is left to `repository gc`:"
                " %s",
                *(run.reference, fqrn, error),
            )


def _ended(run: Run) -> RunResult:
    try:
        return _answer(run)
    except (LeaseLost, LedgerUnavailable):
        raise
    except Overtaken:
        return RunResult(
            Outcome.SUPERSEDED, run.digest, NEWER_PUSH, is_reason_open=True
        )
    except Refused as error:
        return RunResult(
            Outcome.REFUSED,
            run.digest,
            str(error),
            is_public=False if isinstance(error, NotPublic) else None,
            is_reason_open=error.is_open,
        )
    except OutOfTime:
        reason = out_of_time(JOB_SECONDS)
        return RunResult(Outcome.FAILED, run.digest, reason, is_reason_open=True)
    except Exception as error:
        if is_want_of_memory(error):  # whatever a library or we made of that
            reason = too_much(run.services.config.worker_memory_mib)
            return RunResult(Outcome.FAILED, run.digest, reason, is_reason_open=True)
        if isinstance(error, WorkerError):
            result = after_error(error, run.digest, run.lease.attempt)
            return replace(result, is_public=_learnt(run, error))
        # A mistake of ours must not lose the image.
        log.exception("reference=%s", run.reference)
        kind = type(error).__name__
        reason = f"internal error ({kind}); the worker's log has more"
        return after_mistake(reason, run.digest, run.lease.attempt)


def _learnt(run: Run, error: WorkerError) -> bool | None:
    """Say of an image that failed whether anybody could pull it, unless it is said.

    So its author reads why; a registry that is in trouble is not asked once more.
    """
    if run.is_public is not None or not isinstance(error, ANSWERED):
        return None
    return is_public(run.services.registry, run.reference)


def _answer(run: Run) -> RunResult:
    if run.lease.order == orders.REMOVE:
        return remove(run, "removed by hand")
    if run.lease.order == orders.EXPIRE:
        return expire(run)
    digest = orders.restored_digest(run.lease.order)
    return publish(run) if digest is None else restore(run, digest)
