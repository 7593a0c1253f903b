"""A place to publish at: real registry, real Redis, a repository on the disk.

A job runs as it does in the service: in a work horse that an idle worker forks, or, to
tell the horse's share, in this process.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.images import LayoutImage
from tests.support.harness.redis_server import RedisServer
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.skopeo import skopeo_copy
from workers.care.heads import accept_head
from workers.care.repository import create_repository
from workers.config import Config, load_config
from workers.cvmfs.storage.storage import MANIFEST
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect
from workers.jobs import run_job
from workers.ledger import Ledger, RunRecord
from workers.reference import Reference
from workers.wiring import Services

FQRN = "bench.example.org"
HORSE_FUNCTION = "tests.bench.measured_job.run"
HORSE_REPORT = "CVMFS_WEBHOOK_BENCH_REPORT"
_DEADLINE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """One job, from the moment it is asked for.

    Attributes:
        seconds: until the signed manifest was in place.
        cpu_seconds: of the process that ran it.
        peak_mb: resident memory of that process at its highest.
        stages: seconds spent in each, as the ledger has them.
        outcome: what the ledger says of it.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    stages: Mapping[str, float]
    outcome: str


@dataclass(frozen=True, slots=True)
class Site:
    """The running parts."""

    folder: Path
    registry: str
    config: Config

    def push(self, image: LayoutImage, tag: str) -> str:
        """Push an image; return its reference. Nobody is notified of it."""
        reference = f"{self.registry}/bench/science:{tag}"
        skopeo_copy(image.source, f"docker://{reference}")
        return reference

    def empty_repository(self) -> None:
        """Begin with a new, empty repository, and with nothing left to be written.

        The old one is only moved aside: for minutes ext4 passes over inodes that were
        just freed, one by one, which would be half of the time of writing new files.
        """
        if self._storage.exists():
            self._storage.rename(self.folder / f"repository-{time.time_ns()}")
        for fqrn in self.config.repositories:
            create_repository(self.config, fqrn, is_again=True)
            accept_head(self.config, fqrn)
        os.sync()

    def run_in_horse(self, reference: str) -> Run:
        """Have an idle worker do it; the time begins before the job is queued."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        with self._idle_worker(report), connect(self.config) as connection:
            ledger = Ledger(connection)
            queue = JobQueue(connection, function=HORSE_FUNCTION)
            started = time.time()
            accepted = ledger.request(reference, source="bench")
            queue.enqueue_accepted([accepted])
            _wait_for(report.exists, f"{reference} is worked off")
            run = _last_run(ledger, reference)
        usage = json.loads(report.read_text())
        seconds = self._published_at(run) - started
        return Run(seconds, usage["cpu_seconds"], usage["peak_mb"], *_told(run))

    def run_here(self, reference: str) -> Run:
        """Do it in this process, once everything is imported and connected."""
        with Services.open(self.config) as services:
            ledger = services.front.ledger
            ledger.request(reference, source="bench")
            started, cpu_started = time.time(), time.process_time()
            run_job(services, Reference.parse(reference))
            cpu_seconds = time.process_time() - cpu_started
            run = _last_run(ledger, reference)
        return Run(self._published_at(run) - started, cpu_seconds, 0.0, *_told(run))

    @property
    def _storage(self) -> Path:
        return self.folder / "repository"

    def _published_at(self, run: RunRecord) -> float:
        """Return when the manifest was put in place; if it was not, when it ended."""
        if run.outcome == "unchanged" and run.ended is not None:
            return run.ended
        if run.outcome != "published":
            raise RuntimeError(f"not published: {run.outcome} {run.reason}")
        return (self._storage / MANIFEST).stat().st_mtime

    @contextlib.contextmanager
    def _idle_worker(self, report: Path) -> Iterator[None]:
        environment = {
            **os.environ,
            "CVMFS_WEBHOOK_CONFIG": str(self.config.path),
            HORSE_REPORT: str(report),
        }
        log = self.folder / "worker.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.measured_job"],
                env=environment,
                stdout=output,
                stderr=output,
            )
        try:
            with connect(self.config) as connection:
                _wait_for(
                    lambda: connection.scard("rq:workers") > 0, "the worker is idle"
                )
            time.sleep(0.2)  # until it really waits, which nobody can see from here
            yield
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Start everything in ``folder``."""
    folder.mkdir(parents=True)
    with (
        distribution_registry(folder / "registry") as registry,
        RedisServer(folder / "redis") as server,
    ):
        (folder / "policy.yaml").write_text(
            'version: 1\nrules: [{allow: "**/bench/**"}]\n'
        )
        path = folder / "config.yaml"
        path.write_text(
            f"""\
state: .
policy: policy.yaml
queue: {{url: "{server.url}"}}
registries: {{"{registry}": {{plain_http: true}}}}
repositories:
  {FQRN}: {{storage: "{(folder / "repository").as_uri()}", keys: keys, ttl: 60}}
"""
        )
        yield Site(folder, registry, load_config(path, {}))


def _last_run(ledger: Ledger, reference: str) -> RunRecord:
    [run, *_] = ledger.runs(reference, 1)
    return run


def _told(run: RunRecord) -> tuple[Mapping[str, float], str]:
    return run.seconds_by_stage, str(run.outcome)


def _wait_for(claim: object, what: str) -> None:
    assert callable(claim)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in time: {what}")
        time.sleep(0.01)
