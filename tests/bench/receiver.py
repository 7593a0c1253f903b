"""The receiver of ``up``: how fast it answers, and whether it keeps what it accepts.

The workers of ``up`` are halted meanwhile: what is measured is taking notifications in,
and each of them is for another image, which is the most work it can be.

Then the same under siege (``siege.py``), while clients fetch objects of the repository.
Everybody is on loopback and has an address as they would have in the world: the
registry one, each client one of its own, and the slow ones come 25 or 10 from one, so
that what an address may have at most (``webhook/wire/limits.py``: 32 slow requests in
each of two processes) does not end the siege before it begins. Together they want more
connections than there are, so that there is always somebody to be given up.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.disk import sync_seconds
from tests.bench.report import Figure, Settings, median, percentile
from tests.support.harness.service import ServiceProcess
from tests.support.tools.programs import free_port
from webhook.machine.first_start import FQRN
from workers.cvmfs import ContentHash, ContentStore, LocalStorage
from workers.cvmfs.objects.content_sink import CHUNKED_ABOVE_BYTES
from workers.cvmfs.values.hash import Kind
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect_url
from workers.ledger import Ledger

_SAMPLE = Path(__file__).parents[1] / "contracts/samples/distribution-1.json"
_RATE, _SECONDS = 300, 30
_BURST, _AT_ONCE = 20_000, 100
_P99_REACH_MS, _SIEGE_P99_REACH_MS = 20.0, 25.0
_REGISTRY = "127.0.0.1"
_DRIPPERS = [f"127.1.0.{1 + number // 25}" for number in range(1000)]
_READERS = [f"127.2.0.{1 + number // 10}" for number in range(300)]
_CLIENTS = [f"127.3.0.{1 + number}" for number in range(50)]
_OBJECTS_OF_CLIENT = 10
_OBJECTS = 500
_EVERYTHING = 1_000_000
_ENQUEUED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What the load generator saw."""

    seconds: list[float]
    statuses: Mapping[str, int]
    connections: int
    cpu_seconds: float


@dataclass(slots=True)
class _Load:
    """A load generator at work."""

    process: subprocess.Popen[bytes]

    def answers(self) -> Answers:
        """Wait for its end."""
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError("the load generator failed")
        return Answers(**json.loads(out))


@dataclass(slots=True)
class _Seen:
    """What became of those who lay siege, filled in when it is over."""

    counts: Mapping[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0


def measure(settings: Settings) -> Iterator[Figure]:
    """Send at a pace, then all at once, and look for every image in the ledger."""
    registry = f"127.0.0.1:{free_port()}"
    service = ServiceProcess(settings.folder / "service", registry=registry)
    service.allow(f"{registry}/**")
    with service, _halted(service.processes("worker")):
        disk = sync_seconds(settings.folder)
        seconds = 5 if settings.is_quick else _SECONDS
        _send(service, _notifications("warm", _RATE), rate=_RATE).answers()
        paced = _notifications("paced", _RATE * seconds)
        with _cpu_of(service) as own:
            answers = _send(service, paced, rate=_RATE).answers()
        disk += sync_seconds(settings.folder)
        yield from _paced_figures(
            f"receiver at {_RATE}/s", answers, disk, _P99_REACH_MS, **own
        )
        yield from _siege_figures(service, seconds, disk)

        count = 2000 if settings.is_quick else _BURST
        started = time.perf_counter()
        burst = _notifications("burst", count)
        answers = _send(service, burst, at_once=_AT_ONCE).answers()
        taken_seconds = time.perf_counter() - started
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
            count / taken_seconds,
            "/s",
            count / taken_seconds * median(disk),
            "one fsync each",
        )


def _siege_figures(
    service: ServiceProcess, seconds: float, disk: Sequence[float]
) -> Iterator[Figure]:
    small, large = _stored_objects(service)
    count = len(_CLIENTS) * _OBJECTS_OF_CLIENT * round(seconds)
    gets = [
        f"GET {small[number % len(small)]} HTTP/1.1\r\nHost: {service.listen}\r\n\r\n"
        for number in range(count)
    ]
    posts = _notifications("besieged", _RATE * round(seconds))
    with _besieged(service, large, 3 * seconds + 60) as seen, _cpu_of(service) as own:
        rate = len(_CLIENTS) * _OBJECTS_OF_CLIENT
        fetching = _load(service, gets, rate=rate, sources=_CLIENTS)
        answers = _send(service, posts, rate=_RATE).answers()
        fetched = fetching.answers()
    details = {"seen": seen.counts, "siege_cpu_s": seen.cpu_seconds, **own}
    yield from _paced_figures(
        "  the same under siege", answers, disk, _SIEGE_P99_REACH_MS, **details
    )
    yield Figure(
        f"  objects at {rate}/s meanwhile: p99",
        1000 * percentile(fetched.seconds, 99),
        "ms",
        details={
            "p50_ms": 1000 * percentile(fetched.seconds, 50),
            "statuses": fetched.statuses,
            "connections": fetched.connections,
            "generator_cpu_s": fetched.cpu_seconds,
        },
    )


def _paced_figures(
    what: str,
    answers: Answers,
    disk: Sequence[float],
    reach_ms: float,
    **details: object,
) -> Iterator[Figure]:
    for percent in (50.0, 99.0, 100.0):
        value = 1000 * percentile(answers.seconds, percent)
        own = 1000 * percentile(disk, percent)
        name = "longest" if percent == 100 else f"p{percent:.0f}"
        yield Figure(
            f"{what}: {name}",
            value,
            "ms",
            value / own,
            f"the disk's fsync, {own:.2f} ms",
            f"<= {reach_ms:.0f} ms" if percent == 99 else "",
            value <= reach_ms if percent == 99 else None,
            details={
                "statuses": answers.statuses,
                "connections": answers.connections,
                "generator_cpu_s": answers.cpu_seconds,
                "load_average": os.getloadavg(),
                **details,
            },
        )


@contextlib.contextmanager
def _cpu_of(service: ServiceProcess) -> Iterator[dict[str, float]]:
    """Tell the processor time that the receiver takes, which no neighbour changes."""

    def ticks() -> int:
        stats = (
            Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            for process in service.processes("serve")
        )
        return sum(int(stat[11]) + int(stat[12]) for stat in stats)

    taken: dict[str, float] = {}
    before = ticks()
    yield taken
    taken["receiver_cpu_s"] = (ticks() - before) / os.sysconf("SC_CLK_TCK")


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
) -> _Load:
    """Start sending notifications."""
    headers = {
        "Host": service.listen,
        "Content-Type": "application/vnd.docker.distribution.events.v1+json",
        **service.endpoint.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    requests = [
        f"POST /hooks/local HTTP/1.1\r\n{lines}"
        f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
        for body in bodies
    ]
    return _load(service, requests, rate=rate, at_once=at_once)


def _load(
    service: ServiceProcess,
    requests: Sequence[str],
    *,
    rate: float | None = None,
    at_once: int | None = None,
    sources: Sequence[str] = (_REGISTRY,),
) -> _Load:
    host, _, port = service.listen.rpartition(":")
    order = {
        "host": host,
        "port": int(port),
        "requests": requests,
        "rate": rate,
        "at_once": at_once,
        "sources": sources,
    }
    process = _started("tests.bench.load")
    assert process.stdin
    process.stdin.write(json.dumps(order).encode())
    process.stdin.close()
    process.stdin = None
    return _Load(process)


@contextlib.contextmanager
def _besieged(service: ServiceProcess, path: str, seconds: float) -> Iterator[_Seen]:
    """Have the receiver besieged, for so long at most."""
    host, _, port = service.listen.rpartition(":")
    order = {
        "host": host,
        "port": int(port),
        "drippers": _DRIPPERS,
        "readers": _READERS,
        "path": path,
        "seconds": seconds,
    }
    seen = _Seen()
    process = _started("tests.bench.siege")
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the siege has not begun")
        yield seen
        if process.poll() is not None:
            raise RuntimeError("the siege was over too soon")
        out, _ = process.communicate()
        told = json.loads(out)
        seen.counts, seen.cpu_seconds = told["seen"], told["cpu_seconds"]
    finally:
        process.kill()
        process.wait()


def _started(module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _stored_objects(service: ServiceProcess) -> tuple[Sequence[str], str]:
    """Store files of Python's own; return where some are served, and a large one.

    The large one is more than the kernel takes of an answer that nobody reads.
    """
    sink = ContentStore(LocalStorage(service.storage))
    paths = sysconfig.get_paths()
    small = sorted(Path(paths["stdlib"]).glob("*.py"))
    small += sorted(Path(paths["stdlib"]).glob("*/*.py"))
    large = max(
        Path(paths["platlib"]).rglob("*.so"),
        key=lambda path: size if (size := _size(path)) <= CHUNKED_ABOVE_BYTES else 0,
    )
    served = []
    for path in (*small[:_OBJECTS], large):
        with path.open("rb") as stream:
            content = sink.put(stream, _size(path))
        assert content.hash is not None
        stored = ContentHash(content.hash).path(Kind.BULK)
        served.append(f"/cvmfs/{FQRN}/{stored}")
    return served[:-1], served[-1]


def _size(path: Path) -> int:
    return path.stat().st_size


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
