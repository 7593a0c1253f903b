"""The queue and the worker: real processes, killed at will."""

import json
import os
import pickle
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.harness.ledger import D1, REFERENCE, Bench
from tests.support.harness.redis_server import Flavour, RedisServer
from tests.support.harness.worker_process import WorkerProcess, eventually
from workers.jobqueue import QUEUE_NAME, JobQueue, worker_name
from workers.ledger import Ledger, LedgerUnavailable, Outcome, State

OURS = "tests.support.harness.worker_process.publish"
OTHER = "docker.io/library/debian:12"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("queue")) as server:
        yield server


class Scene:
    """A ledger on the server's own clock, a queue, and a folder for the job."""

    def __init__(
        self, server: RedisServer, connection: redis.Redis, folder: Path
    ) -> None:
        self.url = server.url
        self.connection = connection
        self.folder = folder
        self.bench = Bench(connection)
        self.bench.ledger = self.ledger = Ledger(connection)
        self.queue = JobQueue(connection, function=OURS)

    def push(self, reference: str = REFERENCE, job: str = "publish") -> None:
        function = f"{WorkerProcess.__module__}.{job}"
        queue = JobQueue(self.connection, function=function)
        queue.enqueue_accepted([self.bench.push(D1, reference)])

    def worker(self, job: str = "publish", *words: str) -> WorkerProcess:
        return WorkerProcess(self.url, self.folder, job, *words)

    def state(self, reference: str = REFERENCE) -> State:
        return self.bench.image(reference).state

    def wait_until_live(self, reference: str = REFERENCE) -> None:
        def is_done() -> bool:
            image = self.bench.image(reference)
            return image.state is State.LIVE and image.done == image.requested

        eventually(is_done, f"{reference} goes live")


@pytest.fixture
def scene(running: RedisServer, tmp_path: Path) -> Iterator[Scene]:
    with running.client() as connection:
        connection.flushall()
        yield Scene(running, connection, tmp_path / "jobs")


# Carrying.


def test_what_is_put_in_is_seen_waiting(scene: Scene) -> None:
    scene.queue.enqueue(REFERENCE, "one")
    assert scene.queue.queued_ids() == {"one"}
    assert scene.queue.depth() == 1
    accepted = scene.bench.push(reference=OTHER)
    assert scene.queue.enqueue_accepted([accepted, accepted]) == 1
    assert scene.queue.queued_ids() == {"one", accepted.job_id}


def test_what_needs_no_job_is_not_put_in(scene: Scene) -> None:
    scene.bench.push()
    assert scene.queue.enqueue_accepted([scene.bench.push()]) == 0
    assert scene.queue.depth() == 0


def test_a_job_is_json_and_names_one_function(scene: Scene) -> None:
    scene.queue.enqueue(REFERENCE, "one")
    data = scene.connection.hget("rq:job:one", "data")
    assert isinstance(data, bytes)
    assert json.loads(zlib.decompress(data)) == [OURS, None, [REFERENCE], {}]


def test_a_queue_that_is_away_is_one_error_of_ours(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        queue = JobQueue(connection)
        server.kill()
        for attempt in (
            lambda: queue.enqueue(REFERENCE, "one"),
            queue.queued_ids,
            queue.depth,
        ):
            with pytest.raises(LedgerUnavailable):
                attempt()


# Working.


def test_a_burst_works_off_what_is_owed_and_ends(scene: Scene) -> None:
    scene.push()
    scene.push(OTHER)
    with scene.worker("publish", "--burst") as worker:
        worker.go()
        assert worker.process.wait(30) == 0
    assert scene.state() is State.LIVE
    assert scene.state(OTHER) is State.LIVE
    assert scene.queue.depth() == 0


def test_one_runs_and_one_waits(scene: Scene) -> None:
    scene.push()
    with scene.worker() as one, scene.worker():
        one.started()
        for _ in range(5):
            scene.push()
        assert scene.queue.depth() == 0
        one.go()
        scene.wait_until_live()
    assert [run.number for run in scene.ledger.runs(REFERENCE)] == [6, 1]


def test_a_failure_that_may_pass_is_run_again_in_time(scene: Scene) -> None:
    scene.push(job="fail_once")
    with scene.worker("fail_once", "--burst") as worker:
        assert worker.process.wait(30) == 0
    assert scene.state() is State.LIVE
    published, failed = scene.ledger.runs(REFERENCE)
    assert failed.next_try is not None
    assert published.started >= failed.next_try


def test_a_job_that_raises_is_run_again_at_once(scene: Scene) -> None:
    scene.push(job="raise_once")
    with scene.worker("raise_once", "--burst") as worker:
        assert worker.process.wait(30) == 0
    assert scene.state() is State.LIVE
    runs = scene.ledger.runs(REFERENCE)
    assert [run.outcome for run in runs] == [Outcome.PUBLISHED, Outcome.FAILED]


# Dying.


def test_a_killed_horse_is_replaced_at_once(scene: Scene) -> None:
    scene.push()
    with scene.worker() as worker:
        os.kill(worker.started(1), signal.SIGKILL)
        worker.started(2)
        worker.go()
        scene.wait_until_live()
        assert worker.process.poll() is None
    published, died = scene.ledger.runs(REFERENCE)
    assert published.attempt == 2
    assert died.reason is not None
    assert "SIGKILL" in died.reason


def test_a_killed_worker_takes_its_horse_along_and_another_takes_over(
    scene: Scene,
) -> None:
    scene.push()
    with scene.worker() as worker:
        horse = worker.started(1)
        worker.process.kill()
        worker.process.wait()
        eventually(lambda: not _lives(horse), "the horse dies")
    with scene.worker() as worker:
        worker.started(2)
        worker.go()
        scene.wait_until_live()
    assert scene.ledger.runs(REFERENCE)[1].reason == "its process was lost"


def test_a_job_lost_between_ledger_and_queue_is_run_all_the_same(
    scene: Scene,
) -> None:
    # As when the receiver is killed after its answer, before it enqueues.
    assert scene.bench.push().job_id is not None
    assert scene.queue.depth() == 0
    with scene.worker() as worker:
        worker.go()
        scene.wait_until_live()
    (run,) = scene.ledger.runs(REFERENCE)
    assert run.outcome is Outcome.PUBLISHED


def test_a_job_lost_so_is_run_though_the_server_is_killed_then(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "queue") as server, server.client() as connection:
        scene = Scene(server, connection, tmp_path / "jobs")
        assert scene.bench.push().job_id is not None
        server.restart()
        with scene.worker() as worker:
            worker.go()
            scene.wait_until_live()


def test_a_lost_job_does_not_wait_for_another_that_works(scene: Scene) -> None:
    scene.push(OTHER)
    with scene.worker() as busy, scene.worker() as idle:
        busy.started(1)
        scene.bench.push()
        busy.started(2)
        idle.go()
        scene.wait_until_live()
        scene.wait_until_live(OTHER)


@pytest.mark.parametrize("flavour", ["redis", "valkey"])
def test_a_server_killed_and_restarted_during_a_run_loses_nothing(
    tmp_path: Path, flavour: Flavour
) -> None:
    with (
        RedisServer(
            tmp_path / "queue", "redis" if flavour == "redis" else "valkey"
        ) as server,
        server.client() as connection,
    ):
        scene = Scene(server, connection, tmp_path / "jobs")
        scene.push()
        scene.push(OTHER)
        with scene.worker() as worker:
            worker.started(1)
            server.kill()
            eventually(lambda: "the job works on" in worker.log, "it notices")
            server.start()
            worker.go()
            scene.wait_until_live()
            scene.wait_until_live(OTHER)
            server.restart()
            scene.push(OTHER)
            scene.wait_until_live(OTHER)
            assert worker.process.poll() is None
        assert len(scene.ledger.runs(REFERENCE)) == 1


def test_a_worker_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "queue")
    with WorkerProcess(server.url, tmp_path / "jobs") as worker:
        eventually(lambda: "asking again" in worker.log, "it complains")
        with server, server.client() as connection:
            scene = Scene(server, connection, tmp_path / "jobs")
            scene.push()
            worker.go()
            scene.wait_until_live()


# Stopping.


def test_an_idle_worker_ends_when_it_is_told(scene: Scene) -> None:
    with scene.worker() as worker:
        eventually(lambda: scene.connection.smembers("rq:workers"), "it signs on")
        assert worker.stop() == 0
    assert scene.connection.smembers("rq:workers") == set()


def test_a_worker_that_is_told_to_end_lets_its_job_end(scene: Scene) -> None:
    scene.push()
    with scene.worker() as worker:
        worker.started(1)
        worker.process.send_signal(signal.SIGTERM)
        worker.go()
        assert worker.process.wait(30) == 0
    assert scene.state() is State.LIVE


def test_a_job_that_outlasts_the_grace_is_run_by_the_next_worker(
    scene: Scene,
) -> None:
    scene.push()
    with scene.worker() as worker:
        horse = worker.started(1)
        assert worker.stop() == 0
        assert not _lives(horse)
    assert scene.state() is State.QUEUED
    assert scene.queue.depth() == 1
    with scene.worker() as worker:
        worker.started(2)
        assert scene.bench.image().attempts == 1
        worker.go()
        scene.wait_until_live()


def test_a_worker_told_twice_ends_at_once(scene: Scene) -> None:
    scene.push()
    with scene.worker() as worker:
        worker.started(1)
        worker.process.send_signal(signal.SIGINT)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
    assert scene.state() is State.QUEUED


# Refusing.


Fields = dict[str, str | bytes]


def _put(connection: redis.Redis, job_id: str, fields: Fields) -> None:
    """Put a job in by hand, as whoever can write into Redis could."""
    whole: Fields = {"created_at": "2026-01-01T00:00:00Z", "timeout": "60", **fields}
    for name, value in whole.items():
        connection.hset(f"rq:job:{job_id}", name, value)
    connection.rpush(f"rq:queue:{QUEUE_NAME}", job_id)


def _call(function: object, args: object, kwargs: object = None) -> bytes:
    return json.dumps([function, None, args, kwargs or {}]).encode()


class Exploit:
    """What a pickle can do to whoever loads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_no_job_but_ours_is_run(scene: Scene, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    ours = _call(OURS, [REFERENCE])
    evil = f"touch {mark}"
    foreign: dict[str, Fields] = {
        "pickle": {"data": pickle.dumps((OURS, None, (Exploit(mark),), {}))},
        "pickled-result": {"data": ours, "meta": pickle.dumps(Exploit(mark))},
        "other-function": {"data": _call("os.system", [evil])},
        "method": {"data": json.dumps(["system", "os", [evil], {}]).encode()},
        "two-arguments": {"data": _call(OURS, [REFERENCE, evil])},
        "named-arguments": {"data": _call(OURS, [], {"reference": REFERENCE})},
        "odd-reference": {"data": _call(OURS, ["../../etc:x"])},
        "no-canonical-reference": {"data": _call(OURS, ["debian"])},
        "no-text": {"data": _call(OURS, [{"a": 1}])},
        "no-list": {"data": _call(OURS, {"a": 1})},
        "no-call": {"data": b"[1, 2]"},
        "deep": {"data": b"[" * 100_000},
        "success": {"data": ours, "success_callback_name": "os.getpid"},
        "failure": {"data": ours, "failure_callback_name": "os.getpid"},
        "stopped": {"data": ours, "stopped_callback_name": "os.getpid"},
        "depends": {"data": ours, "dependency_ids": '["x"]'},
        "retries": {"data": ours, "retries_left": "5"},
        "repeats": {"data": ours, "repeats_left": "5"},
        "limited": {"data": ours, "rate_limit_key": "x"},
        "group": {"data": ours, "group_id": "x"},
        "endless": {"data": ours, "timeout": "-1"},
        "no-timeout": {"data": ours, "timeout": ""},
        "bad-timeout": {"data": ours, "timeout": "soon"},
        "bad-date": {"data": ours, "created_at": "yesterday"},
        "no-data": {"status": "queued"},
    }
    for job_id, fields in foreign.items():
        _put(scene.connection, job_id, fields)
    for raw in (b"no/id", b"\xff\xfe", b""):
        scene.connection.rpush(f"rq:queue:{QUEUE_NAME}", raw)
    scene.connection.rpush(f"rq:queue:{QUEUE_NAME}", "no-such-job")
    scene.push(OTHER)
    with scene.worker() as worker:
        worker.go()
        scene.wait_until_live(OTHER)
        assert worker.process.poll() is None
        log = worker.log
    named = {job_id for job_id in foreign if f"job={job_id} dropped" in log}
    unreadable = {job_id for job_id in foreign if f"job={job_id!r} dropped" in log}
    # RQ passes over what has no call in it, as over a job that is gone.
    assert named | unreadable == set(foreign) - {"no-data"}
    assert not mark.exists()
    assert scene.ledger.image(REFERENCE) is None
    left = {key.decode() for key in scene.connection.scan_iter("rq:job:*")}
    assert not left & {f"rq:job:{job_id}" for job_id in named}


def test_a_job_of_ours_that_nobody_asked_for_does_nothing(scene: Scene) -> None:
    scene.queue.enqueue(REFERENCE, "uncalled-for")
    with scene.worker("publish", "--burst") as worker:
        worker.go()
        assert worker.process.wait(30) == 0
    assert scene.ledger.image(REFERENCE) is None


def test_a_process_has_one_name(scene: Scene) -> None:
    assert worker_name() == worker_name(os.getpid())
    assert worker_name(1) != worker_name(2)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except FileNotFoundError:
        return False
