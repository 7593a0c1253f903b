"""The queue and the worker: real processes, killed at will."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.harness.failing_over import run_pair
from tests.support.harness.ledger import REFERENCE
from tests.support.harness.redis_server import Flavour, RedisServer
from tests.support.harness.worker_process import (
    OTHER,
    QueueAndWorker,
    WorkerProcess,
    is_running,
)
from tests.support.tools.waiting import wait_until
from workers.jobqueue import QUEUE_NAME, worker_name
from workers.jobqueue.connection import connect_url
from workers.ledger import Outcome, State

# Working.


def test_a_burst_works_off_what_is_owed_and_ends(jobs: QueueAndWorker) -> None:
    jobs.push()
    jobs.push(OTHER)
    with jobs.worker("publish", "--burst") as worker:
        worker.go()
        assert worker.process.wait(30) == 0
    assert jobs.state() is State.LIVE
    assert jobs.state(OTHER) is State.LIVE
    assert jobs.queue.depth() == 0


def test_one_runs_and_one_waits(jobs: QueueAndWorker) -> None:
    jobs.push()
    with jobs.worker() as one, jobs.worker():
        one.started()
        for _ in range(5):
            jobs.push()
        assert jobs.queue.depth() == 0
        one.go()
        jobs.wait_until_live()
    assert [run.number for run in jobs.ledger.runs(REFERENCE)] == [6, 1]


def test_a_failure_that_may_pass_is_run_again_in_time(jobs: QueueAndWorker) -> None:
    jobs.push(job="fail_once")
    with jobs.worker("fail_once", "--burst") as worker:
        assert worker.process.wait(30) == 0
    assert jobs.state() is State.LIVE
    published, failed = jobs.ledger.runs(REFERENCE)
    assert failed.next_try is not None
    assert published.started >= failed.next_try


def test_a_job_that_raises_is_run_again_at_once(jobs: QueueAndWorker) -> None:
    jobs.push(job="raise_once")
    with jobs.worker("raise_once", "--burst") as worker:
        assert worker.process.wait(30) == 0
    assert jobs.state() is State.LIVE
    runs = jobs.ledger.runs(REFERENCE)
    assert [run.outcome for run in runs] == [Outcome.PUBLISHED, Outcome.FAILED]


# Odd bytes.


def test_what_others_push_into_rqs_lists_takes_no_worker_from_its_job(
    jobs: QueueAndWorker,
) -> None:
    connection, queue = jobs.connection, f"rq:queue:{QUEUE_NAME}"
    jobs.push()
    # Nobody sweeps yet, so it happens while the job runs.
    connection.set("cvmfs-webhook:sweep", "1")
    with jobs.worker() as worker:
        horse = worker.started()
        for key in (queue, f"{queue}:intermediate"):
            connection.rpush(key, b"\xff\xfe")
        connection.zadd(f"rq:wip:{QUEUE_NAME}", {b"\xff\xfe": 1.0})
        connection.zadd("cvmfs-webhook:owed", {b"\xff\xfe": 1.0, b"debian": 1.0})
        connection.set(f"rq:failed:{QUEUE_NAME}", "no sorted set")
        connection.set(f"rq:finished:{QUEUE_NAME}", "no sorted set")
        connection.delete("cvmfs-webhook:sweep")

        def is_tidy() -> bool:
            taken = connection.lrange(f"{queue}:intermediate", 0, -1)
            owed = connection.zrange("cvmfs-webhook:owed", 0, -1)
            return b"\xff\xfe" not in taken and owed == [REFERENCE.encode()]

        wait_until(is_tidy, "the odd ids are gone")
        assert is_running(horse)
        worker.go()
        jobs.wait_until_live()
        jobs.push(OTHER)
        jobs.wait_until_live(OTHER)
        assert worker.process.poll() is None
        assert worker.log.count("'debian' is dropped") == 1
    (run,) = jobs.ledger.runs(REFERENCE)
    assert run.outcome is Outcome.PUBLISHED


def test_a_worker_survives_keys_of_another_type(jobs: QueueAndWorker) -> None:
    ours = ("owed", "images", "state:queued", "events", "counters", "jobs")
    keys = [f"cvmfs-webhook:{name}" for name in ours]
    keys += ["rq:workers", "rq:queues", f"rq:queue:{QUEUE_NAME}"]
    keys += [f"rq:queue:{QUEUE_NAME}:intermediate", f"rq:wip:{QUEUE_NAME}"]
    with jobs.worker() as worker:
        worker.go()
        jobs.push()
        jobs.wait_until_live()
        for key in keys:
            jobs.connection.delete(key)
            jobs.connection.hset(key, b"\xff", b"\xff")
        jobs.push(OTHER)
        jobs.wait_until_live(OTHER)
        assert worker.process.poll() is None


# Dying.


def test_a_killed_horse_is_replaced_at_once(jobs: QueueAndWorker) -> None:
    jobs.push()
    with jobs.worker() as worker:
        os.kill(worker.started(1), signal.SIGKILL)
        worker.started(2)
        worker.go()
        jobs.wait_until_live()
        assert worker.process.poll() is None
    published, died = jobs.ledger.runs(REFERENCE)
    assert published.attempt == 2
    assert died.reason is not None
    assert "SIGKILL" in died.reason


def test_a_job_lost_between_ledger_and_queue_is_run_all_the_same(
    jobs: QueueAndWorker,
) -> None:
    # As when the receiver is killed after its answer, before it enqueues.
    assert jobs.driver.push().job_id is not None
    assert jobs.queue.depth() == 0
    with jobs.worker() as worker:
        worker.go()
        jobs.wait_until_live()
    (run,) = jobs.ledger.runs(REFERENCE)
    assert run.outcome is Outcome.PUBLISHED


def test_a_job_lost_so_is_run_though_the_server_is_killed_then(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "queue") as server, server.client() as connection:
        jobs = QueueAndWorker(server, connection, tmp_path / "jobs")
        assert jobs.driver.push().job_id is not None
        server.restart()
        with jobs.worker() as worker:
            worker.go()
            jobs.wait_until_live()


def test_a_lost_job_does_not_wait_for_another_that_works(jobs: QueueAndWorker) -> None:
    jobs.push(OTHER)
    with jobs.worker() as busy, jobs.worker() as idle:
        busy.started(1)
        jobs.driver.push()
        busy.started(2)
        idle.go()
        jobs.wait_until_live()
        jobs.wait_until_live(OTHER)


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
        jobs = QueueAndWorker(server, connection, tmp_path / "jobs")
        jobs.push()
        jobs.push(OTHER)
        with jobs.worker() as worker:
            worker.started(1)
            server.kill()
            wait_until(lambda: "the job works on" in worker.log, "it notices")
            server.start()
            worker.go()
            jobs.wait_until_live()
            jobs.wait_until_live(OTHER)
            server.restart()
            jobs.push(OTHER)
            jobs.wait_until_live(OTHER)
            assert worker.process.poll() is None
        assert len(jobs.ledger.runs(REFERENCE)) == 1


def test_a_worker_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "queue")
    with WorkerProcess(server.url, tmp_path / "jobs") as worker:
        wait_until(lambda: "asking again" in worker.log, "it complains")
        with server, server.client() as connection:
            jobs = QueueAndWorker(server, connection, tmp_path / "jobs")
            jobs.push()
            worker.go()
            jobs.wait_until_live()


# Stopping.


def test_an_idle_worker_ends_when_it_is_told(jobs: QueueAndWorker) -> None:
    with jobs.worker() as worker:
        wait_until(lambda: jobs.connection.smembers("rq:workers"), "it signs on")
        assert worker.stop() == 0
    assert jobs.connection.smembers("rq:workers") == set()


def test_a_worker_that_is_told_to_end_lets_its_job_end(jobs: QueueAndWorker) -> None:
    jobs.push()
    with jobs.worker() as worker:
        worker.started(1)
        worker.process.send_signal(signal.SIGTERM)
        worker.go()
        assert worker.process.wait(30) == 0
    assert jobs.state() is State.LIVE


def test_a_job_that_outlasts_the_grace_is_run_by_the_next_worker(
    jobs: QueueAndWorker,
) -> None:
    jobs.push()
    with jobs.worker() as worker:
        horse = worker.started(1)
        assert worker.stop() == 0
        assert not is_running(horse)
    assert jobs.state() is State.QUEUED
    assert jobs.queue.depth() == 1
    with jobs.worker() as worker:
        worker.started(2)
        assert jobs.driver.image().attempts == 1
        worker.go()
        jobs.wait_until_live()


def test_a_worker_told_twice_ends_at_once(jobs: QueueAndWorker) -> None:
    jobs.push()
    with jobs.worker() as worker:
        worker.started(1)
        worker.process.send_signal(signal.SIGINT)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
    assert jobs.state() is State.QUEUED


def test_a_process_has_one_name(jobs: QueueAndWorker) -> None:
    assert worker_name() == worker_name(os.getpid())
    assert worker_name(1) != worker_name(2)


def test_a_worker_goes_on_at_the_server_that_took_over(tmp_path: Path) -> None:
    with run_pair(tmp_path) as pair, connect_url(pair.url) as connection:
        jobs = QueueAndWorker(pair.first, connection, tmp_path / "jobs")
        jobs.url = pair.url
        jobs.push()
        with jobs.worker() as worker:
            worker.started()
            pair.fail_over()
            worker.go()
            jobs.wait_until_live()
            jobs.push(OTHER)
            jobs.wait_until_live(OTHER)
        assert len(jobs.ledger.runs(REFERENCE)) == 1
