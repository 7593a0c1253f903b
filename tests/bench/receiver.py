"""The receiver of ``up``: how fast it answers, and whether it keeps what it accepts.

The workers of ``up`` are halted meanwhile: what is measured is taking notifications in,
and each of them is for another image, which is the most work it can be.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.disk import sync_seconds
from tests.bench.report import Figure, Settings, median, percentile
from tests.support.harness.service import ServiceProcess
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect_url
from workers.jobqueue.embedded_server import free_port
from workers.ledger import Ledger

_SAMPLE = Path(__file__).parents[1] / "contracts/samples/distribution-1.json"
_RATE, _SECONDS = 300, 30
_BURST, _AT_ONCE = 20_000, 100
_P99_REACH_MS = 20.0
_EVERYTHING = 1_000_000
_ENQUEUED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What the load generator saw."""

    seconds: list[float]
    statuses: Mapping[str, int]
    connections: int
    cpu_seconds: float


def measure(settings: Settings) -> Iterator[Figure]:
    """Send at a pace, then all at once, and look for every image in the ledger."""
    registry = f"127.0.0.1:{free_port()}"
    service = ServiceProcess(settings.folder / "service", registry=registry)
    service.allow(f"{registry}/**")
    with service, _halted(service.processes("worker")):
        disk = sync_seconds(settings.folder)
        count = _RATE * (5 if settings.is_quick else _SECONDS)
        _send(service, _notifications("warm", _RATE), rate=_RATE)
        answers = _send(service, _notifications("paced", count), rate=_RATE)
        disk += sync_seconds(settings.folder)
        yield from _paced_figures(answers, disk)

        count = 2000 if settings.is_quick else _BURST
        started = time.perf_counter()
        answers = _send(service, _notifications("burst", count), at_once=_AT_ONCE)
        seconds = time.perf_counter() - started
        lost = count - _kept(service, f"{registry}/group/burst")
        yield Figure(
            f"burst of {count} notifications: lost",
            lost,
            "",
            reach="0",
            is_reached=lost == 0,
            details={"statuses": answers.statuses, "longest_s": max(answers.seconds)},
        )
        yield Figure(
            "  taken in",
            count / seconds,
            "/s",
            count / seconds * median(disk),
            "one fsync each",
        )


def _paced_figures(answers: Answers, disk: Sequence[float]) -> Iterator[Figure]:
    for percent in (50.0, 99.0, 100.0):
        value = 1000 * percentile(answers.seconds, percent)
        own = 1000 * percentile(disk, percent)
        name = "longest" if percent == 100 else f"p{percent:.0f}"
        yield Figure(
            f"receiver at {_RATE}/s: {name}",
            value,
            "ms",
            value / own,
            f"the disk's fsync, {own:.2f} ms",
            f"<= {_P99_REACH_MS:.0f} ms" if percent == 99 else "",
            value <= _P99_REACH_MS if percent == 99 else None,
            details={
                "statuses": answers.statuses,
                "connections": answers.connections,
                "generator_cpu_s": answers.cpu_seconds,
            },
        )


def _notifications(name: str, count: int) -> list[str]:
    """Return real envelopes of Distribution, each for an image of its own."""
    envelope = json.loads(_SAMPLE.read_text())
    [event] = envelope["events"]
    bodies = []
    for number in range(count):
        event["id"] = str(uuid.uuid4())
        event["target"]["repository"] = f"group/{name}{number}"
        bodies.append(json.dumps(envelope))
    return bodies


def _send(
    service: ServiceProcess,
    bodies: Sequence[str],
    *,
    rate: float | None = None,
    at_once: int | None = None,
) -> Answers:
    host, _, port = service.listen.rpartition(":")
    order = {
        "host": host,
        "port": int(port),
        "path": "/hooks/local",
        "headers": {
            "Content-Type": "application/vnd.docker.distribution.events.v1+json",
            **service.endpoint.headers,
        },
        "bodies": bodies,
        "rate": rate,
        "at_once": at_once,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return Answers(**json.loads(done.stdout))


def _kept(service: ServiceProcess, prefix: str) -> int:
    """Count the images of a burst that are in the ledger and have a job queued."""
    url = (service.folder / "queue/url").read_text().strip()
    with connect_url(url) as connection:
        kept = {
            image.reference
            for image in Ledger(connection).images(0, _EVERYTHING).images
            if image.reference.startswith(prefix)
        }
        # They are enqueued behind the answers, a moment later.
        queue = JobQueue(connection)
        deadline = time.monotonic() + _ENQUEUED_SECONDS
        while queue.depth() < len(kept):
            if time.monotonic() > deadline:
                wait = f"{queue.depth()} jobs wait"
                raise RuntimeError(f"{len(kept)} images are wanted, {wait}")
            time.sleep(0.05)
    return len(kept)


@contextlib.contextmanager
def _halted(processes: Sequence[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
