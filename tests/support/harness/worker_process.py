"""A real worker in a process of its own, and the job that it runs for tests.

The job says by files in a folder how far it is, and waits for a file before it goes on:
``started-<n>`` holds the process id of the n-th run, ``go`` lets all runs end.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.harness.ledger import D1, REFERENCE, LedgerDriver
from tests.support.harness.redis_server import DEADLINE_SECONDS, RedisServer
from tests.support.tools.waiting import wait_until
from workers.config import Config, QueueConfig, Secret
from workers.jobqueue import PATIENCE, JobQueue, run_worker, worker_name
from workers.jobqueue.connection import connect_url
from workers.ledger import (
    Lease,
    Ledger,
    LedgerUnavailable,
    Outcome,
    RunResult,
    State,
)
from workers.wiring import Front

_URL, _FOLDER = "TEST_QUEUE_URL", "TEST_FOLDER"
LEASE_SECONDS = 2.0
OURS = "tests.support.harness.worker_process.publish"
OTHER = "docker.io/library/debian:12"


class WorkerProcess:
    """``run_worker`` with one of the jobs below."""

    def __init__(
        self, url: str, folder: Path, job: str = "publish", *words: str
    ) -> None:
        self._environment = {**os.environ, _URL: url, _FOLDER: str(folder)}
        self._command = [sys.executable, "-m", __name__, job, *words]
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        log = (self._folder / "worker.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    @property
    def log(self) -> str:
        return (self._folder / "worker.log").read_text()

    def started(self, run: int = 1) -> int:
        """Wait until the n-th run has begun; return the process id of its horse."""
        mark = self._folder / f"started-{run}"
        wait_until(mark.exists, f"run {run} starts")
        return int(mark.read_text())

    def go(self) -> None:
        """Let the job end."""
        (self._folder / "go").touch()

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


class QueueAndWorker:
    """A ledger on the server's own clock, a queue, and a folder for the job."""

    def __init__(
        self, redis_server: RedisServer, connection: redis.Redis, folder: Path
    ) -> None:
        self.url = redis_server.url
        self.connection = connection
        self.folder = folder
        self.driver = LedgerDriver(connection)
        self.driver.ledger = self.ledger = Ledger(connection)
        self.queue = JobQueue(connection, function=OURS)

    def push(self, reference: str = REFERENCE, job: str = "publish") -> None:
        function = f"{WorkerProcess.__module__}.{job}"
        queue = JobQueue(self.connection, function=function)
        queue.enqueue_accepted([self.driver.push(D1, reference)])

    def worker(self, job: str = "publish", *words: str) -> WorkerProcess:
        return WorkerProcess(self.url, self.folder, job, *words)

    def state(self, reference: str = REFERENCE) -> State:
        return self.driver.image(reference).state

    def wait_until_live(self, reference: str = REFERENCE) -> None:
        def is_done() -> bool:
            image = self.driver.image(reference)
            return image.state is State.LIVE and image.done == image.requested

        wait_until(is_done, f"{reference} goes live")


def is_running(pid: int) -> bool:
    """Say whether a process lives and is no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except FileNotFoundError:
        return False


def _mark(folder: Path) -> None:
    number = len(list(folder.glob("started-*"))) + 1
    aside = folder / "mark.new"
    aside.write_text(str(os.getpid()))
    aside.rename(folder / f"started-{number}")


def _begin(reference: str) -> tuple[Ledger, Lease, JobQueue]:
    connection = connect_url(os.environ[_URL])
    ledger = Ledger(connection, lease_seconds=LEASE_SECONDS)
    lease = ledger.begin(reference, worker=worker_name())
    if lease is None:
        sys.exit(0)
    _mark(Path(os.environ[_FOLDER]))
    return ledger, lease, JobQueue(connection, function=f"{__name__}.publish")


def publish(reference: str) -> str:
    """Take the lease, wait for ``go``, say that it is published."""
    ledger, lease, queue = _begin(reference)
    go = Path(os.environ[_FOLDER]) / "go"
    while not go.exists():
        time.sleep(0.05)
        try:
            if not ledger.keep_alive(lease):
                return "lost"
        except LedgerUnavailable:
            continue
    again = ledger.finish(lease, RunResult(Outcome.PUBLISHED, digest=D1, revision=1))
    queue.enqueue_accepted([again] if again else [])
    return "published"


def fail_once(reference: str) -> str:
    """Fail in a way that may pass, then publish."""
    ledger, lease, _ = _begin(reference)
    if lease.attempt == 1:
        at = time.time() + 1
        ledger.finish(lease, RunResult(Outcome.FAILED, reason="503", next_try=at))
        return "failed"
    ledger.finish(lease, RunResult(Outcome.PUBLISHED, digest=D1, revision=1))
    return "published"


def raise_once(reference: str) -> str:
    """Raise, then publish."""
    ledger, lease, _ = _begin(reference)
    if lease.attempt == 1:
        raise RuntimeError("a mistake")
    ledger.finish(lease, RunResult(Outcome.PUBLISHED, digest=D1, revision=1))
    return "published"


def main() -> None:
    import logging  # noqa: PLC0415 - this is the process of its own

    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    job, *words = sys.argv[1:]
    queue = QueueConfig(url=Secret(os.environ[_URL]))
    config = Config(state=Path(os.environ[_FOLDER]), queue=queue)
    with Front.open(config, **PATIENCE) as front:
        run_worker(
            front.connection,
            front.ledger,
            burst="--burst" in words,
            function=f"tests.support.harness.worker_process.{job}",
            grace_seconds=1.0,
            memory_mib=config.worker_memory_mib,
        )


if __name__ == "__main__":
    main()
