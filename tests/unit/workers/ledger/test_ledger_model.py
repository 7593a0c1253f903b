"""The ledger against a model that fits on a page.

The model knows only this: how often each reference was asked for, which number each run
began with, and what was said to a run of digests. Whatever is lost, killed or late,
every request must in the end be answered by a run that began after it, or that had the
digest from the registry that it named; no two runs may hold one reference, and only
another digest, a rebuild or an order may stop one.
"""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.harness.ledger import D1, D2, LedgerDriver
from tests.support.harness.redis_server import RedisServer
from workers.ledger import (
    STOPS_ALLOWED,
    Accepted,
    Hint,
    Lease,
    Outcome,
    RunResult,
    State,
    orders,
)
from workers.ledger.reading import as_text

NAMES = ("docker.io/atlas/a:1", "docker.io/atlas/b:1")
RUNNING = {State.RESOLVING, State.FETCHING, State.CONVERTING, State.PUBLISHING}
names = st.sampled_from(NAMES)
digests = st.sampled_from([D1, D2, None])
ages = st.integers(0, 2)
OWED = "cvmfs-webhook:owed"


@dataclass
class Heard:
    """What a run that holds a lease was told.

    Attributes:
        told: the digest that it was to look for.
        found: the registry's.
        newest: the digest that was said last since it began.
        is_stopped: a rebuild or an order was wanted, which the run is not about.
    """

    told: str | None
    found: str | None = None
    newest: str | None = None
    is_stopped: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """Everything that front, workers, crashes and time can do to a ledger."""

    server: RedisServer

    @initialize()
    def start(self) -> None:
        self.connection = self.server.client()
        self.connection.flushall()
        self.driver = LedgerDriver(self.connection)
        self.ledger = self.driver.ledger
        self.queue: dict[str, str] = {}
        self.lost: set[str] = set()
        self.asked = dict.fromkeys(NAMES, 0)
        self.begun = dict.fromkeys(NAMES, 0)
        self.leases: list[Lease] = []
        # Who may still work: the lease, and until when.
        self.holders: dict[str, tuple[Lease, float]] = {}
        self.heard: dict[str, Heard] = {}

    def teardown(self) -> None:
        self.drain()
        self.connection.close()

    def enqueue(self, accepted: Accepted | None, *, is_lost: bool = False) -> None:
        if accepted and accepted.job_id and accepted.reference:
            if is_lost:
                self.lost.add(accepted.reference)
            else:
                self.queue[accepted.job_id] = accepted.reference

    def is_held(self, name: str) -> bool:
        return name in self.holders and self.driver.clock() < self.holders[name][1]

    def let_go(self, lease: Lease) -> None:
        if self.holders.get(lease.reference, (None, 0))[0] == lease:
            del self.holders[lease.reference]

    def begin(self, name: str, worker: str) -> Lease | None:
        self.lost.discard(name)
        is_held = self.is_held(name)
        lease = self.ledger.begin(name, worker=worker)
        if lease is not None:
            assert not is_held
            assert lease.number >= self.asked[name]
            self.begun[name] = lease.number
            self.holders[name] = (lease, self.driver.clock() + 30)
            self.heard[name] = Heard(lease.hint.digest if lease.hint else None)
        return lease

    def hear(self, name: str, number: int, digest: str | None) -> None:
        """Note what was asked for, and whether a run answers it that is under way."""
        if name in self.holders:  # who may be silent only, and go on later
            heard = self.heard[name]
            is_alone = self.begun[name] == self.asked[name] and self.is_held(name)
            if digest and digest == heard.found and is_alone and not heard.is_stopped:
                self.begun[name] = number
            heard.newest = digest
        self.asked[name] = number

    @rule(name=names, digest=digests, is_lost=st.sampled_from([False, False, True]))
    def push(self, name: str, digest: str | None, is_lost: bool) -> None:  # noqa: FBT001
        is_carried = name in self.queue.values() or name in self.lost
        accepted = self.driver.push(digest, name)
        self.hear(name, accepted.number, digest)
        if self.is_held(name):
            assert accepted.job_id is None
        elif not is_carried:
            assert accepted.job_id is not None
        self.enqueue(accepted, is_lost=is_lost)

    @rule(name=names)
    def refuse(self, name: str) -> None:
        self.driver.refuse(name)

    @rule(name=names)
    def cancel(self, name: str) -> None:
        record = self.ledger.image(name)
        was_owed = record is not None and record.requested > record.done
        assert self.ledger.cancel(name, "cancelled") == was_owed
        if was_owed:
            self.asked[name] = self.begun[name]
            self.holders.pop(name, None)

    @precondition(lambda self: self.queue)
    @rule()
    def work(self) -> None:
        name = self.queue.pop(next(iter(self.queue)))
        lease = self.begin(name, f"w{len(self.leases)}")
        if lease is not None:
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(
        outcome=st.sampled_from([*Outcome, Outcome.PUBLISHED, Outcome.FAILED]),
        digest=st.sampled_from([D1, D2]),
        pause=st.sampled_from([None, 1, 100]),
        age=ages,
    )
    def finish(
        self, outcome: Outcome, digest: str, pause: int | None, age: int
    ) -> None:
        lease = self.leases[-1 - age % len(self.leases)]
        may_pass = outcome is Outcome.FAILED and pause is not None
        next_try = self.driver.clock() + (pause or 0) if may_pass else None
        self.enqueue(
            self.ledger.finish(
                lease, RunResult(outcome, digest=digest, next_try=next_try)
            )
        )
        self.let_go(lease)

    @precondition(lambda self: self.leases)
    @rule(age=ages, is_stopped=st.booleans())
    def worker_ends(self, age: int, is_stopped: bool) -> None:  # noqa: FBT001
        place = len(self.leases) - 1 - age % len(self.leases)
        lease, worker = self.leases[place], f"w{place}"
        if is_stopped:
            self.enqueue(self.ledger.release(lease.reference, worker=worker))
        else:
            self.enqueue(
                self.ledger.abandon(lease.reference, worker=worker, how="signal 9")
            )
        self.let_go(lease)

    @precondition(lambda self: self.leases)
    @rule(age=ages)
    def keep_alive(self, age: int) -> None:
        lease = self.leases[-1 - age % len(self.leases)]
        is_kept = self.ledger.keep_alive(lease)
        holder = self.holders.get(lease.reference)
        assert is_kept <= (holder is not None and holder[0] == lease)
        if is_kept:
            self.holders[lease.reference] = (lease, self.driver.clock() + 30)

    @precondition(lambda self: self.leases)
    @rule(stage=st.sampled_from(sorted(RUNNING)), digest=digests, age=ages)
    def stage(self, stage: State, digest: str | None, age: int) -> None:
        lease = self.leases[-1 - age % len(self.leases)]
        self.ledger.stage(lease, stage, digest=digest)
        if digest and self.holders.get(lease.reference, (None, 0))[0] == lease:
            self.heard[lease.reference].found = digest

    @rule(name=names, digest=st.sampled_from([D1, D2]))
    def rebuild(self, name: str, digest: str) -> None:
        """Want a rebuild by hand, as of what is there."""
        accepted = self.ledger.request(
            name, source="operator", forced=True, hint=Hint(digest, "operator")
        )
        if name in self.holders:
            self.heard[name].is_stopped = True
        self.hear(name, accepted.number, digest)
        self.enqueue(accepted)

    @rule(name=names)
    def look(self, name: str) -> None:
        """Want the registry to be asked, as after a deletion."""
        accepted = self.ledger.request(
            name, source="hub", hint=Hint(None, "hub"), order=orders.LOOK
        )
        self.hear(name, accepted.number, None)
        self.enqueue(accepted)

    @precondition(lambda self: self.holders)
    @rule()
    def the_registry_has_what_it_had(self) -> None:
        """Let runs find that their digests are the newest, if that is in doubt."""
        for name, (lease, _) in self.holders.items():
            if not self.is_held(name):
                continue
            doubted = self.ledger.standing(lease).doubted
            if doubted is not None:
                assert self.ledger.confirm(lease, doubted)
                self.begun[name] = doubted

    @rule(seconds=st.sampled_from([1, 14, 16, 29, 32, 61]))
    def time_passes(self, seconds: float) -> None:
        self.driver.clock.passes(seconds)

    @rule()
    def sweep(self) -> None:
        for job in self.ledger.owed(self.queue.keys()):
            assert not self.is_held(job.reference or "")
            self.enqueue(job)

    @precondition(lambda self: self.queue)
    @rule()
    def the_queue_is_lost(self) -> None:
        self.lost.update(self.queue.values())
        self.queue.clear()

    @invariant()
    def a_request_without_a_run_is_owed(self) -> None:
        for name in NAMES:
            record = self.ledger.image(name)
            if self.asked[name] > self.begun[name]:
                assert record is not None
                assert record.requested > record.done

    @invariant()
    def what_is_owed_is_looked_after(self) -> None:
        owed = {as_text(name) for name in self.connection.zrange(OWED, 0, -1)}
        for name in NAMES:
            record = self.ledger.image(name)
            is_owed = record is not None and record.requested > record.done
            assert is_owed == (name in owed)

    @invariant()
    def only_what_is_other_stops_a_run(self) -> None:
        for name, (lease, _) in self.holders.items():
            if not self.is_held(name):
                continue  # it may be another's by now
            heard = self.heard[name]
            is_newer = self.asked[name] > self.begun[name]
            target = heard.found or heard.told
            is_other = heard.newest is not None and heard.newest != target
            assert self.ledger.is_overtaken(lease) == (
                is_newer
                and lease.overtaken < STOPS_ALLOWED
                and (is_other or heard.is_stopped)
            )

    @invariant()
    def at_most_one_waits(self) -> None:
        waiting = list(self.queue.values())
        assert all(waiting.count(name) <= 1 for name in NAMES)

    @invariant()
    def a_state_says_what_is_so(self) -> None:
        total = 0
        for name in NAMES:
            record = self.ledger.image(name)
            if record is None:
                continue
            total += 1
            if record.state is State.LIVE:
                assert record.live_digest is not None
            if record.state in RUNNING:
                assert record.is_running
            if record.state is State.REFUSED and not record.started:
                assert record.requested == record.done
        assert sum(self.ledger.counts().values()) == total
        assert self.ledger.images().total == total

    def drain(self) -> None:
        """Let the machines run on: all that was asked for must come to be answered."""
        for _ in range(200):
            self.sweep()
            for job_id in list(self.queue):
                name = self.queue.pop(job_id)
                lease = self.begin(name, "last")
                if lease is not None:
                    self.enqueue(self.driver.publish(lease, D2))
                    self.let_go(lease)
            if self.ledger.next_due() is None and not self.queue:
                break
            self.driver.clock.passes(10)
        for name in NAMES:
            record = self.ledger.image(name)
            if record is not None:
                assert record.done == record.requested
                assert self.begun[name] >= self.asked[name]
                assert not record.is_running


@pytest.mark.slow
def test_whatever_happens_every_request_is_answered(redis_server: RedisServer) -> None:
    LedgerMachine.server = redis_server
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
