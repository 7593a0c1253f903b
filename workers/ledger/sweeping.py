"""Finding what is owed and carried by nobody: how a lost job comes back.

The sorted set ``owed`` says when to look after each reference. A job that was handed
out is looked for within a second or two, because whoever has to enqueue it may be dead;
once it is in the queue there is no such hurry, and ``put_off`` says so in the same
transaction that puts it there.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

import redis
from redis.client import Pipeline

from workers.ledger.deliveries import Accepted, Verdict
from workers.ledger.odd import PREFIX, drop_endless, is_canonical

log = logging.getLogger(__name__)

# A job that has just been put into the queue: until it should have begun.
_ENQUEUED_SECONDS = 15.0
# How long a job that is seen in the queue may go on waiting unlooked at.
_QUEUED_SECONDS = 30.0
_BATCH = 500
# One sweep a second serves all workers.
_CLAIM_MS = 900

# Runs a script that returns a list; ``Ledger`` has it.
RunScript = Callable[..., list[str]]


def claim(connection: redis.Redis) -> bool:
    """Whether the caller should sweep now; see ``Ledger.claim_sweep``."""
    key = f"{PREFIX}sweep"
    is_ours = bool(connection.set(key, "1", nx=True, px=_CLAIM_MS))
    if not is_ours:
        drop_endless(connection, key, _CLAIM_MS / 1000)
    return is_ours


def put_off(pipeline: Pipeline, references: Iterable[str]) -> None:
    """Have the jobs of ``references`` looked for later: they are put into the queue.

    Relative to the time that the ledger has set, so that no clock but Redis's counts.
    What is not owed any more stays so.

    Args:
        pipeline: the one that puts them there, not executed here.
        references: canonical.
    """
    for reference in references:
        put = {reference: _ENQUEUED_SECONDS}
        pipeline.zadd(f"{PREFIX}owed", put, xx=True, incr=True)


def owed(
    connection: redis.Redis, run: RunScript, queued_ids: AbstractSet[str]
) -> list[Accepted]:
    """Return jobs to enqueue; see ``Ledger.owed``."""
    jobs: list[Accepted] = []
    while True:
        now, *flat = run("due", _BATCH)
        found = list(zip(flat[::2], flat[1::2], strict=True))
        due = [one for one in found if is_canonical(one[0])]
        _drop(connection, {name for name, _ in found} - {name for name, _ in due})
        later = float(now) + _QUEUED_SECONDS
        waiting = {name: later for name, job in due if job in queued_ids}
        if waiting:
            # XX: what was answered meanwhile must not come back.
            connection.zadd(f"{PREFIX}owed", waiting, xx=True)
        jobs += _carry(run, [one for one in due if one[0] not in waiting])
        if len(found) < _BATCH:
            return jobs


def _drop(connection: redis.Redis, names: Iterable[str]) -> None:
    """Owe nothing under names for which no job would be run."""
    for name in names:
        log.warning("%r is dropped from what is owed: it is no reference", name)
        connection.zrem(f"{PREFIX}owed", name)


def _carry(run: RunScript, lost: Sequence[tuple[str, str]]) -> list[Accepted]:
    if not lost:
        return []
    reply = run("carry", *(text for pair in lost for text in pair))
    reason = "owed, and nobody carried it"
    return [
        Accepted(name, Verdict.QUEUED, reason, job, int(number))
        for (name, _), job, number in zip(lost, reply[::2], reply[1::2], strict=True)
        if job
    ]
