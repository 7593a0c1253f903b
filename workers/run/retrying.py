"""Whether and when a job that failed is tried again; the one place that asks.

The ledger keeps the moment; a sweep starts the job then.
"""

import time

from workers.errors import TransientError, WorkerError
from workers.ledger import Outcome, RunResult
from workers.registry import DigestMismatch, Throttled

# The pauses between the attempts add up to two hours: a registry's maintenance passes
# meanwhile, and an operator makes room on a disk.
MAX_ATTEMPTS = 10
"""After so many a job is given up whose trouble might have passed by itself."""
_FIRST_DELAY_SECONDS = 5.0
_LONGEST_DELAY_SECONDS = 1800.0
# A registry may ask for more than that, up to here: Docker Hub counts for so long.
_LONGEST_RETRY_AFTER_SECONDS = 6 * 3600.0
# Where one has had enough of us, and does not say for how long.
_THROTTLED_SECONDS = 60.0
# What is altered on its way, or our own mistake, hardly ever passes by itself, and each
# attempt may cost a whole download.
_MAX_COSTLY_ATTEMPTS = 3


def is_last(attempt: int) -> bool:
    """Tell whether a run that fails is not tried again, whatever it meets."""
    return attempt >= MAX_ATTEMPTS


def after_error(error: WorkerError, digest: str | None, attempt: int) -> RunResult:
    """Return how a run ends that met an error of ours.

    Args:
        error: what it met.
        digest: of the image, if the registry gave it.
        attempt: number of this run, from 1.
    """
    if not isinstance(error, TransientError):
        return RunResult(
            Outcome.FAILED, digest, str(error), is_reason_open=error.is_open
        )
    if isinstance(error, Throttled):
        return _come_back(error, digest, attempt)
    is_costly = isinstance(error, DigestMismatch)
    most = _MAX_COSTLY_ATTEMPTS if is_costly else MAX_ATTEMPTS
    return _try_again(str(error), digest, attempt, most, error.retry_after)


def after_mistake(reason: str, digest: str | None, attempt: int) -> RunResult:
    """Return how a run ends that a mistake of ours has stopped."""
    return _try_again(reason, digest, attempt, _MAX_COSTLY_ATTEMPTS)


def _try_again(
    reason: str,
    digest: str | None,
    attempt: int,
    most: int,
    retry_after: float | None = None,
) -> RunResult:
    """Return a failure that the ledger retries, unless it has been tried enough."""
    if attempt >= most:
        reason = f"{reason} (given up after {attempt} attempts)"
        return RunResult(Outcome.FAILED, digest, reason, is_given_up=True)
    delay = _delay(attempt, retry_after)
    return RunResult(Outcome.FAILED, digest, reason, next_try=time.time() + delay)


def _come_back(error: Throttled, digest: str | None, attempt: int) -> RunResult:
    """Return a failure that says nothing but that it was too early."""
    delay = max(_delay(attempt, error.retry_after), _THROTTLED_SECONDS)
    return RunResult(
        Outcome.FAILED,
        digest,
        str(error),
        next_try=time.time() + delay,
        is_counted=False,
    )


def _delay(attempt: int, retry_after: float | None) -> float:
    """Return the seconds until the next attempt."""
    delay: float = min(
        _FIRST_DELAY_SECONDS * 3 ** (attempt - 1), _LONGEST_DELAY_SECONDS
    )
    if retry_after is not None:
        delay = max(delay, min(retry_after, _LONGEST_RETRY_AFTER_SECONDS))
    return delay
