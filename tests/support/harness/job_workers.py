"""Real workers, on what a ``JobRunner`` has, in processes of their own.

They run the product's job. The name of a repository may say where a run is to be stuck
(``PLACES``) the first time it is worked off, in place of the story of a push. One that
begins with ``slow-registry`` has less patience with its registry than the product.

with JobWorkers(runner, 3) as workers:
    workers.push("in-c/image:v1", image)
    workers.wait_until_in_place("in-c/image:v1")
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import rq
import zstandard
from rq.serializers import JSONSerializer

from tests.support.harness.jobs import JobRunner
from tests.support.harness.redis_server import DEADLINE_SECONDS
from tests.support.tools.waiting import wait_until
from workers import jobs, wiring
from workers.config import load_config
from workers.jobqueue import PATIENCE, QUEUE_NAME, JobQueue, run_worker
from workers.ledger import Ledger, RunRecord, RunResult, State
from workers.registry import RegistryClient, Timeouts
from workers.registry.blob import Patience
from workers.run import outcomes
from workers.run.publish import publish
from workers.run.run import Run
from workers.wiring import Front

_CONFIG = "CVMFS_WEBHOOK_CONFIG"
_MODULE = "tests.support.harness.job_workers"  # also where it is __main__
_FUNCTION = f"{_MODULE}.run"
HURRIED = Timeouts(
    connect_seconds=5,
    head_seconds=0.5,
    stall_seconds=0.5,
    answer_seconds=1,
    request_seconds=2,
)
_PEAK = re.compile(r"reference=(\S+) .*peak_mib=([0-9]+)")


class JobWorkers:
    """Some workers, forked from one process as each of them forks for a job.

    Attributes:
        ledger: of the runner, but by the server's own clock, as the workers have it.
    """

    def __init__(self, runner: JobRunner, count: int) -> None:
        self._runner = runner
        self._count = count
        self._log = runner.config.with_name("workers.log")
        self.connection = runner.services.front.connection
        self.ledger = Ledger(self.connection)
        self._jobs: dict[str, str] = {}

    def __enter__(self) -> Self:
        environment = {**os.environ, _CONFIG: str(self._runner.config)}
        command = [sys.executable, "-m", _MODULE, str(self._count)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def want(self, name: str, *, seconds: int | None = None) -> None:
        """Ask for a reference, and let its job take so long."""
        reference = self._runner.reference(name)
        accepted = self.ledger.request(reference, source="test")
        self._jobs[name] = accepted.job_id or ""
        queue = JobQueue(self.connection, function=_FUNCTION)
        if seconds is None or accepted.job_id is None:
            queue.enqueue_accepted([accepted])
            return
        rq.Queue(
            QUEUE_NAME, connection=self.connection, serializer=JSONSerializer
        ).enqueue_call(_FUNCTION, [reference], job_id=accepted.job_id, timeout=seconds)

    def hold(self) -> None:
        """Let no further run begin; those that are told to end are then to be seen."""
        _hold(self._runner.config).touch()

    def wait_until(self, name: str, *states: State) -> None:
        """Wait until a reference is in one of some states."""
        reference = self._runner.reference(name)

        def is_there() -> bool:
            image = self.ledger.image(reference)
            return image is not None and image.state in states

        wait_until(is_there, f"{name} is {' or '.join(states)}")

    def wait_for_run(self, name: str) -> RunRecord:
        """Wait until a run of a reference has ended; return the first that did."""
        reference = self._runner.reference(name)
        wait_until(lambda: self.ledger.runs(reference), f"a run of {name} ends")
        return self.ledger.runs(reference)[-1]

    def is_alive(self, name: str) -> bool:
        """Tell whether a worker has a process for a wanted run."""
        started = rq.registry.StartedJobRegistry(
            QUEUE_NAME, connection=self.connection, serializer=JSONSerializer
        )
        return self._jobs[name] in started.get_job_ids(cleanup=False)

    def wait_for_death(self, name: str) -> float:
        """Wait until the process of a wanted run is dead; return when it was."""
        wait_until(lambda: not self.is_alive(name), f"the process of {name} ends")
        return self.ledger.now()

    def peak_mib(self, name: str) -> int:
        """Wait for the log of a run of a reference; return what memory it took."""
        reference = self._runner.reference(name)

        def peaks() -> list[int]:
            return [int(mib) for at, mib in _PEAK.findall(self.log) if at == reference]

        wait_until(peaks, f"a run of {name} is in the log")
        return peaks()[0]


def _hold(config: Path) -> Path:
    return config.with_name("hold")


def _in_c() -> None:
    """Compute without ever letting another thread run, or a signal be seen."""
    sum(range(10**15))


def _stubborn() -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001 - as some library may
            continue


def _waiting_for_a_thread() -> None:
    """Wait, as for one that reads a layer, for a thread that does not look up."""
    stuck = threading.Thread(target=_stubborn)
    stuck.start()
    try:
        stuck.join()
    finally:
        stuck.join()


# More than any of these may get, and less than the machine has.
_PORTIONS = 250


def _hungry() -> None:
    held = [b"x" * (8 << 20) for _ in range(_PORTIONS)]
    assert not held


def _hungry_in_zstd() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, strategy=9)
    held = []
    for _ in range(_PORTIONS // 16):
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        stream = compressor.compressobj()
        stream.compress(bytes(1 << 20))
        held.append((compressor, stream))


def _hungry_for_threads() -> None:
    held = b"x" * (450 << 20)
    for _ in range(_PORTIONS):
        threading.Thread(target=_stubborn, daemon=True).start()
    assert not held


def _hungry_and_careless() -> None:
    """Take memory as a library that does not look whether it got any."""
    allocate = ctypes.CDLL(None).malloc
    allocate.restype = ctypes.c_void_p
    for _ in range(_PORTIONS):
        ctypes.memset(allocate(8 << 20), 1, 8 << 20)


PLACES: Mapping[str, Callable[[], None]] = {
    "in-c": _in_c,
    "stubborn": _stubborn,
    "waiting-for-a-thread": _waiting_for_a_thread,
    "hungry": _hungry,
    "hungry-in-zstd": _hungry_in_zstd,
    "hungry-for-threads": _hungry_for_threads,
    "hungry-and-careless": _hungry_and_careless,
}


def run(reference: str) -> str:
    """Run the product's job, stuck where the reference says."""
    while _hold(Path(os.environ[_CONFIG])).exists():
        time.sleep(0.05)

    if "/slow-registry" in reference:
        hurried = partial(RegistryClient, timeouts=HURRIED, patience=Patience(1, 0.01))
        vars(wiring)["RegistryClient"] = hurried

    def stuck(run: Run) -> RunResult:
        place = PLACES.get(run.reference.repository.partition("/")[0])
        if place is None or run.lease.number > 1:
            return publish(run)
        run.heartbeat.stage(State.CONVERTING)
        place()
        raise AssertionError("it got away")

    vars(outcomes)["publish"] = stuck
    return jobs.run(reference)


def main() -> None:
    import logging  # noqa: PLC0415 - this is the process of its own

    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    config = load_config(Path(os.environ[_CONFIG]), os.environ)
    for _ in range(int(sys.argv[1])):
        if not os.fork():
            break
    else:
        while True:
            os.wait()
    with Front.open(config, **PATIENCE) as front:
        run_worker(
            front.connection,
            front.ledger,
            function=_FUNCTION,
            grace_seconds=1.0,
            prepare=jobs.prepare,
            memory_mib=config.worker_memory_mib,
        )


if __name__ == "__main__":
    main()
