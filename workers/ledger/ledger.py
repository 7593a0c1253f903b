"""The ledger's methods: each change is one atomic step in Redis.

The rules stand in ``lua/prelude.lua``; here they get their names, types and errors. In
short: a request counts ``requested`` up, a run that answers for good sets ``done`` to
the count it began with, and work is owed exactly while ``requested > done``. One job at
a time holds the lease of a reference; at most one more waits in the queue.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import redis

from workers.ledger import (
    durability,
    lookups,
    reading,
    sweeping,
    writing,
)
from workers.ledger.deliveries import (
    Accepted,
    Delivery,
    DeliveryRecord,
    Hint,
    Verdict,
    Wanted,
)
from workers.ledger.odd import PREFIX, readable
from workers.ledger.reading import as_text
from workers.ledger.records import (
    Event,
    ImagePage,
    ImageRecord,
    Lease,
    LedgerCounters,
    LiveRecord,
    Progress,
    RunRecord,
    RunResult,
    Standing,
    State,
)
from workers.ledger.scripts import Scripts
from workers.ledger.unavailable import as_ledger_error
from workers.ledger.writing import one_line

# A server that hangs for 45 s costs no lease: it was prolonged at most 3 s before
# (run/heartbeat.py), and is again within some seconds after. And what a dead process
# held is run again within a minute, with the second or two that a sweep takes.
_LEASE_SECONDS = 52.0
# What a commit needs from its last question to the manifest, and much more.
_PUBLISH_SECONDS = 10.0
# How a run stands, as ``standing`` of ``prelude.lua`` says it.
_WHY_STOP, _DOUBTED = frozenset({"lost", "overtaken"}), "doubted"
# How a request may be meant, for ``accept.lua``.
_FORCED, _IF_IDLE, _AGAIN = "1", "idle", "again"


class Ledger:
    """Our records in Redis: the truth of states, owed work and history.

    Every method raises LedgerUnavailable when Redis does not answer as it should.
    """

    def __init__(
        self,
        connection: redis.Redis,
        *,
        clock: Callable[[], float] | None = None,
        lease_seconds: float = _LEASE_SECONDS,
    ) -> None:
        """Use ``connection``, whether it decodes replies or not.

        Args:
            connection: to the Redis that holds the ledger.
            clock: None takes Redis's own clock, on which all machines agree.
            lease_seconds: a job that is silent for so long is taken for dead.
        """
        self._redis = connection
        self._scripts = Scripts(connection)
        self._clock = clock
        self._lease_seconds = lease_seconds

    def _call(self, script: str, *args: str | float) -> object:
        now: str | float = "" if self._clock is None else self._clock()
        with as_ledger_error():
            return self._scripts.call(script, now, *args)

    def _list(self, script: str, *args: str | float) -> list[str]:
        """Run a script that returns a list."""
        reply = self._call(script, *args)
        return [as_text(one) for one in reply] if isinstance(reply, list) else []

    # What the front says.

    def accept(
        self, delivery: Delivery, wanted: Sequence[Wanted], *, if_idle: bool = False
    ) -> list[Accepted]:
        """Record a delivery and what it wants, in one atomic step, kept on return.

        Args:
            delivery: as it came in.
            wanted: each of its events.
            if_idle: as for ``request``.
        """
        body = writing.delivery_to_json(delivery, wanted)
        how = _IF_IDLE if if_idle else ""
        head = (delivery.id, delivery.time, body, delivery.source, how)
        return self._accept(head, wanted)

    def request(
        self,
        reference: str,
        *,
        source: str,
        forced: bool = False,
        hint: Hint | None = None,
        order: str | None = None,
        if_idle: bool = False,
    ) -> Accepted:
        """Want a reference without a delivery: operator, command line, reconciler.

        Args:
            reference: canonical.
            source: who asks: ``operator``, ``cli``, ``reconcile`` …
            forced: rebuild even what is unchanged.
            hint: what the asker knows of the digest.
            order: what is wanted instead of a look at the registry; see ``orders.py``.
            if_idle: only where nothing is owed already; else the answer is IGNORED.
        """
        how = _FORCED if forced else _IF_IDLE if if_idle else ""
        head = ("", "", "", source, how)
        reason = f"asked for by {source}"
        wanted = Wanted(reference, Verdict.QUEUED, reason, hint, order=order)
        return self._accept(head, [wanted])[0]

    def retry(self, references: Sequence[str], *, source: str) -> list[Accepted]:
        """Want again at once what failed or was refused, an order as well as a push.

        Returns:
            For each of them what became of it: IGNORED where there is nothing to retry.
        """
        reason = f"asked for again by {source}"
        wanted = [Wanted(name, Verdict.QUEUED, reason) for name in references]
        return self._accept(("", "", "", source, _AGAIN), wanted)

    def cancel(self, reference: str, why: str) -> bool:
        """Let nothing be owed to a reference any more; what is live stays.

        A run that is under way loses its lease, and so ends within seconds.

        Args:
            reference: canonical.
            why: one line, for people.

        Returns:
            False: nothing was owed.
        """
        return bool(self._call("cancel", reference, one_line(why, 200)))

    def _accept(
        self, head: tuple[str | float, ...], wanted: Sequence[Wanted]
    ) -> list[Accepted]:
        args = [arg for one in wanted for arg in writing.wanted_to_args(one)]
        reply = self._list("accept", *head, *args)
        answers = zip(wanted, reply[::3], reply[1::3], reply[2::3], strict=True)
        return [
            Accepted(
                one.reference,
                Verdict(verdict),
                "received before"
                if verdict == Verdict.DUPLICATE
                else one_line(one.reason),
                job or None,
                int(number),
            )
            for one, verdict, job, number in answers
        ]

    # What the front asks.

    def image(self, reference: str) -> ImageRecord | None:
        """Return what is known of a reference."""
        with as_ledger_error():
            return next(iter(lookups.images(self._redis, [reference])), None)

    def references(self) -> list[str]:
        """Return all references that are known, in no order that lasts."""
        with as_ledger_error():
            return lookups.names(self._redis)

    def records(self, references: Sequence[str]) -> tuple[ImageRecord, ...]:
        """Return what is known of some references; unknown ones are left out."""
        with as_ledger_error():
            return lookups.images(self._redis, references)

    def images(
        self,
        offset: int = 0,
        limit: int = 100,
        *,
        state: State | None = None,
        search: str | None = None,
    ) -> ImagePage:
        """List references, the newest change first; ``search`` is a part of a name."""
        with as_ledger_error():
            return lookups.page(self._redis, offset, limit, state, search)

    def runs(self, reference: str, limit: int = 50) -> list[RunRecord]:
        """Return the last finished runs of a reference, newest first."""
        with as_ledger_error():
            return lookups.runs(self._redis, reference, limit)

    def lives(self, reference: str, limit: int = 100) -> list[LiveRecord]:
        """Return which digest was live from when on, newest first."""
        with as_ledger_error():
            return lookups.lives(self._redis, reference, limit)

    def deliveries(self, limit: int = 100) -> list[DeliveryRecord]:
        """Return the last deliveries, newest first."""
        with as_ledger_error():
            return lookups.deliveries(self._redis, limit)

    def delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return one delivery if it is still kept."""
        with as_ledger_error():
            return lookups.delivery(self._redis, delivery_id)

    def events(self, after: str | None = None, limit: int = 100) -> list[Event]:
        """Return changes, oldest first: the ones after ``after``, or else the last.

        Raises:
            LedgerUnavailable: also when ``after`` is no id of an event.
        """
        with as_ledger_error():
            return lookups.events(self._redis, after, limit)

    def counts(self) -> dict[State, int]:
        """Return how many references are in each state; every state is there."""
        with as_ledger_error():
            return lookups.counts(self._redis)

    def counters(self) -> LedgerCounters:
        """Return how often what has happened, for the metrics."""
        with as_ledger_error():
            return lookups.counters(self._redis)

    def now(self) -> float:
        """Return the time, in seconds since the epoch, by the ledger's own clock.

        Machines' clocks differ; what is compared with times of the ledger is compared
        by this one.
        """
        if self._clock is not None:
            return self._clock()
        with as_ledger_error():
            seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1e6

    def durability_problem(self) -> str | None:
        """Say why what Redis accepts could be lost, in one line; None when it is safe.

        Never raises: a Redis that cannot be reached is a problem too.
        """
        return durability.durability_problem(self._redis)

    def write_problem(self) -> str | None:
        """Say why Redis would not take a write, in one line; None when it takes one.

        Never raises, and names no address.
        """
        return durability.write_problem(self._redis)

    # What a job says.

    def begin(self, reference: str, *, worker: str) -> Lease | None:
        """Take the lease of a reference for a run; its state becomes RESOLVING.

        Args:
            reference: canonical.
            worker: name of the process, for ``abandon``; see ``jobqueue.worker_name``.

        Returns:
            None when there is nothing to do: another job holds the lease and will look
            again, or nothing is owed, or not yet.
        """
        token = secrets.token_hex(8)
        reply = self._list("begin", reference, token, worker, self._lease_seconds)
        if not reply:
            return None
        number, attempt, overtaken, text, age, forced, order = reply
        hints = readable("hint", reading.hint_from_json, [text] if text else [])
        hint = next(hints, None)
        is_news = hint is not None and hint.is_news and age
        return Lease(
            reference=reference,
            token=token,
            number=int(number),
            attempt=int(attempt),
            overtaken=int(overtaken),
            hint=hint,
            forced=forced == "1",
            order=order or None,
            hint_age=max(0.0, float(age)) if is_news else math.inf,
        )

    def keep_alive(self, lease: Lease) -> bool:
        """Prolong a lease; False when it is lost and the run must stop."""
        return bool(
            self._call("keep_alive", lease.reference, lease.token, self._lease_seconds)
        )

    def stage(
        self,
        lease: Lease,
        state: State,
        *,
        digest: str | None = None,
        progress: Progress | None = None,
        is_public: bool | None = None,
    ) -> None:
        """Say that the run has entered a stage.

        An image whose ``digest`` is live stays live to the world.

        Args:
            lease: of the run.
            state: RESOLVING, FETCHING, CONVERTING or PUBLISHING.
            digest: as soon as the registry gave it.
            progress: as for ``progress``.
            is_public: as in ``ImageRecord``, as soon as the registry was asked.
        """
        said = writing.stage_to_json(state, digest, progress, is_public=is_public)
        self._call("stage", lease.reference, lease.token, said)

    def progress(self, lease: Lease, progress: Progress) -> None:
        """Say how far the run is. Not an event; call it at most once a second."""
        said = writing.stage_to_json(None, None, progress)
        self._call("stage", lease.reference, lease.token, said)

    def standing(self, lease: Lease) -> Standing:
        """Tell whether a run is wanted still.

        It is overtaken by a push of another digest, by another order and by whoever
        wants a rebuild, unless two runs in a row were stopped so; by a removal however
        many were.
        """
        why, requested = self._list("standing", lease.reference, lease.token)
        doubted = int(requested) if why == _DOUBTED else None
        return Standing(why in _WHY_STOP, doubted)

    def is_overtaken(self, lease: Lease) -> bool:
        """Whether the run should stop before it publishes; see ``standing``."""
        return self.standing(lease).is_overtaken

    def confirm(self, lease: Lease, number: int) -> bool:
        """Let a run answer what was asked for since it began, up to a number.

        To be called when the registry was asked after that, and has the digest that the
        run works on.

        Returns:
            False: the lease is lost, or there is nothing to be answered.
        """
        return bool(self._call("confirm", lease.reference, lease.token, number))

    def may_publish(self, leases: Sequence[Lease]) -> list[bool]:
        """Tell of each run whether it may publish now; anybody may ask this.

        True as long as its lease is not lost and nothing should stop it, and then the
        lease is held for some seconds more.
        """
        args = [arg for lease in leases for arg in (lease.reference, lease.token)]
        reply = self._list("fence", _PUBLISH_SECONDS, *args)
        return [not why for why in reply]

    def finish(self, lease: Lease, result: RunResult) -> Accepted | None:
        """End the run and give the lease back.

        Of a lost lease nothing is recorded; if it published all the same, another run
        is asked for, which sets right what that may have put back.

        Returns:
            A job to enqueue at once, because the reference is wanted again.
        """
        said = writing.result_to_json(result)
        job_id = self._call("finish", lease.reference, lease.token, said)
        return _again(lease.reference, job_id, "wanted again during the run")

    # What keeps promises when processes die.

    def held(self, reference: str, *, worker: str) -> Lease | None:
        """Return the lease of a reference, if the process ``worker`` has it.

        With it another process may ask, and say, what is the holder's to ask and say.
        """
        names = ["lease", "lease_worker", "lease_number", "attempts", "overtaken"]
        with as_ledger_error():
            found = self._redis.hmget(f"{PREFIX}image:{reference}", names)
        token, holder, number, attempt, overtaken = (
            as_text(one or "") for one in found
        )
        if not token or holder != worker:
            return None
        return Lease(
            reference,
            token,
            int(number),
            int(attempt or 0),
            int(overtaken or 0),
            hint=None,
            forced=False,
        )

    def is_cancelled(self, reference: str, *, worker: str) -> bool:
        """Whether the run of a process was cancelled, and nothing asked for since."""
        key = f"{PREFIX}image:{reference}"
        with as_ledger_error():
            found = self._redis.hget(key, "cancelled")
        return found is not None and as_text(found) == worker

    def abandon(self, reference: str, *, worker: str, how: str) -> Accepted | None:
        """Say that the process ``worker`` is dead: its lease ends at once.

        Args:
            reference: that it worked on.
            worker: as given to ``begin``.
            how: it died, in a few words.

        Returns:
            A job to enqueue at once, if the reference is still owed one.
        """
        job_id = self._call("abandon", reference, worker, one_line(how, 200) or "?")
        return _again(reference, job_id, "its worker died")

    def release(self, reference: str, *, worker: str) -> Accepted | None:
        """Say that the process ``worker`` was stopped on purpose, as ``abandon`` does.

        The image is not to blame, so the run does not count as an attempt.
        """
        job_id = self._call("abandon", reference, worker, "")
        return _again(reference, job_id, "its worker was stopped")

    def claim_sweep(self) -> bool:
        """Whether the caller should sweep now: True for one of all workers a second."""
        with as_ledger_error():
            return sweeping.claim(self._redis)

    def owed(self, queued_ids: AbstractSet[str]) -> list[Accepted]:
        """Return jobs to enqueue: what is owed and due, and nobody carries.

        Args:
            queued_ids: the ids of all jobs that wait in the queue, read just before.
        """
        with as_ledger_error():
            return sweeping.owed(self._redis, self._list, queued_ids)

    def next_due(self) -> float | None:
        """Return in how many seconds ``owed`` has something to look at, if ever."""
        seconds = self._wait()
        return None if seconds is None else max(0.0, seconds)

    def neglected_seconds(self) -> float:
        """Return for how long nobody has looked after what is owed and due.

        Every worker that lives does so within seconds, also while it works.
        """
        return max(0.0, -(self._wait() or 0.0))

    def _wait(self) -> float | None:
        seconds = as_text(self._call("wait"))
        return float(seconds) if seconds else None


def _again(reference: str, job_id: object, reason: str) -> Accepted | None:
    if not job_id:
        return None
    return Accepted(reference, Verdict.QUEUED, reason, as_text(job_id))
