"""The ledger under many hands at once: no reference runs twice, none is forgotten."""

import queue
import random
import threading
import time

from tests.support.harness.ledger import D1, open_ledger_driver
from tests.support.harness.redis_server import DEADLINE_SECONDS, RedisServer
from workers.ledger import Accepted, Ledger, Outcome, RunResult, State

NAMES = ("docker.io/atlas/a:1", "docker.io/atlas/b:1", "docker.io/atlas/c:1")
PUSHERS, PUSHES, WORKERS = 4, 60, 6


class Mill:
    """Pushers and workers on one ledger, with a queue between them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.jobs: queue.Queue[str] = queue.Queue()
        self.running = {name: threading.Lock() for name in NAMES}
        self.answered = dict.fromkeys(NAMES, 0)
        self.ran_twice: list[str] = []
        self.is_over = threading.Event()

    def enqueue(self, accepted: Accepted | None) -> None:
        if accepted and accepted.job_id and accepted.reference:
            self.jobs.put(accepted.reference)

    def push(self, seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(PUSHES):
            self.enqueue(self.ledger.request(choice.choice(NAMES), source="test"))

    def work(self, _: int) -> None:
        while not self.is_over.is_set():
            try:
                self.run(self.jobs.get(timeout=0.05))
            except queue.Empty:
                continue

    def run(self, name: str) -> None:
        lease = self.ledger.begin(name, worker=threading.current_thread().name)
        if lease is None:
            return
        if not self.running[name].acquire(blocking=False):
            self.ran_twice.append(name)
            return
        self.ledger.stage(lease, State.FETCHING, digest=D1)
        self.answered[name] = max(self.answered[name], lease.number)
        self.running[name].release()
        self.enqueue(
            self.ledger.finish(lease, RunResult(Outcome.PUBLISHED, revision=1))
        )

    def wait(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.ledger.next_due() is not None and time.monotonic() < deadline:
            self.is_over.wait(0.01)
        self.is_over.set()


def test_many_threads_never_run_one_reference_twice_at_a_time(
    redis_server: RedisServer,
) -> None:
    with open_ledger_driver(redis_server) as driver:
        mill = Mill(Ledger(driver.connection))
        pushers = [
            threading.Thread(target=mill.push, args=[seed]) for seed in range(PUSHERS)
        ]
        hands = [threading.Thread(target=mill.work, args=[i]) for i in range(WORKERS)]
        for thread in (*pushers, *hands):
            thread.start()
        for thread in pushers:
            thread.join()
        mill.wait()
        for thread in hands:
            thread.join()
        assert mill.ran_twice == []
        records = {name: driver.image(name) for name in NAMES}
        assert sum(one.requested for one in records.values()) == PUSHERS * PUSHES
        for name, record in records.items():
            assert record.state is State.LIVE
            assert record.done == record.requested == mill.answered[name]
