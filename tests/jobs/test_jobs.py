"""The story of a job: what is published, when, and what stops it."""

import dataclasses
import importlib
import inspect
from threading import Event, Thread

import pytest
import redis

from tests.support.harness.jobs import JobRunner, PublisherWithHooks
from tests.support.harness.ledger import D1
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import tar_of
from workers import jobs
from workers.jobqueue import JOB_FUNCTION, JobQueue
from workers.ledger import LedgerUnavailable, Outcome, State
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]


def test_the_function_that_jobs_name_is_there_and_takes_a_reference() -> None:
    module, _, name = JOB_FUNCTION.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    assert function is jobs.run
    inspect.signature(function).bind("registry.example.org/a/b:c")


def test_the_function_that_jobs_name_works_by_the_configuration_of_its_environment(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = push(runner, FIRST)
    runner.want(NAME)
    monkeypatch.setenv("CVMFS_WEBHOOK_CONFIG", str(runner.config))
    told = jobs.run(runner.reference(NAME))
    assert told == f"published: {image.digest}"
    assert runner.image(NAME).state is State.LIVE


def test_a_job_for_what_nobody_wants_does_nothing(runner: JobRunner) -> None:
    push(runner, FIRST)
    told = jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))
    assert "nothing is owed" in told
    assert not runner.registry.seen()


# Newest wins.


def test_who_has_lost_the_lease_by_the_time_of_the_commit_publishes_nothing(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)

    def freeze() -> None:
        runner.clock.passes(3600)
        assert runner.ledger.begin(runner.reference(NAME), worker="another")

    before = runner.revision
    runner.replace_publisher(
        lambda real: PublisherWithHooks(real, before_publish=freeze)
    )
    jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))

    assert runner.file(NAME, "etc/motd") is None
    assert runner.revision == before


# The policy's word.


def test_what_a_worker_prepares_is_what_its_jobs_go_by(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    monkeypatch.setenv("CVMFS_WEBHOOK_CONFIG", str(runner.config))
    jobs.prepare()
    runner.write_policy("rules: [")
    runner.config.write_text("nonsense: [")
    assert jobs.run(runner.reference(NAME)).startswith("published")


# Whatever breaks meanwhile.


def test_a_queue_server_that_restarts_costs_no_work(
    runner: JobRunner, redis_server: RedisServer
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    is_reached, may_go_on = Event(), Event()
    runner.when_registry_is_asked("/blobs/", is_reached.set)
    runner.when_registry_is_asked("/blobs/", lambda: may_go_on.wait(30))
    job = Thread(target=runner.run, args=(NAME,))
    job.start()
    assert is_reached.wait(30)
    redis_server.kill()
    may_go_on.set()
    redis_server.start()  # here, because it ends with the thread that started it
    job.join()
    assert runner.image(NAME).state is State.LIVE
    assert len(runner.registry.seen("HEAD", "/manifests/v1")) == 2  # ours, a stranger's


def test_a_queue_server_that_is_away_leaves_the_work_owed(
    runner: JobRunner, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    monkeypatch.setenv("CVMFS_WEBHOOK_CONFIG", str(runner.config))
    redis_server.kill()
    try:
        told = jobs.run(runner.reference(NAME))
    finally:
        redis_server.start()
    assert told.startswith("left to the sweep")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


class Breaking:
    """Kills the job at its n-th call of the ledger, before or after it has come in.

    Reads and writes alike; what runs in the heartbeat's own thread does not count.
    """

    def __init__(self, connection: redis.Redis, at: int, *, is_done: bool) -> None:
        self._execute = connection.execute_command
        self._at, self._is_done = at, is_done
        self.calls = 0

    def __call__(self, *words: object, **options: object) -> object:
        self.calls += 1
        if self.calls == self._at:
            if self._is_done:
                self._execute(*words, **options)  # type: ignore[no-untyped-call] # redis's
            raise Killed
        return self._execute(*words, **options)  # type: ignore[no-untyped-call] # redis's


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_killed_at_any_word_to_the_ledger_the_image_goes_live(
    runner: JobRunner,
    monkeypatch: pytest.MonkeyPatch,
    is_done: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    at = 0
    while True:
        at += 1
        name = f"atlas/killed:{at}"
        image = push(runner, [tar_of({"number": b"%d" % at})], name)
        runner.want(name)
        connection = runner.services.front.connection
        breaking = Breaking(connection, at, is_done=is_done)
        monkeypatch.setattr(connection, "execute_command", breaking)
        try:
            jobs.run_job(runner.services, Reference.parse(runner.reference(name)))
        except Killed:
            pass
        else:
            break
        finally:
            monkeypatch.undo()

        runner.expire_leases_and_claims()
        runner.ledger.owed(set())
        for _ in range(2):  # the sweep gives a dead process's work away, once or twice
            runner.expire_leases_and_claims()
            jobs.run_job(runner.services, Reference.parse(runner.reference(name)))
        record = runner.image(name)
        assert (record.state, record.live_digest) == (State.LIVE, image.digest), at
        assert record.done == record.requested, at
        assert record.revision is not None, at
        assert runner.ledger.owed(set()) == [], at
    assert at > 8


def test_a_job_that_cannot_be_queued_again_is_left_to_the_sweep(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.when_registry_is_asked("/blobs/", lambda: runner.want(NAME, D1))

    class Away(JobQueue):
        def enqueue_accepted(self, accepted: object) -> int:
            raise LedgerUnavailable("the queue server does not work")

    front = runner.services.front
    front = dataclasses.replace(front, queue=Away(front.connection))
    services = dataclasses.replace(runner.services, front=front)
    told = jobs.run_job(services, Reference.parse(runner.reference(NAME)))
    assert told.startswith("superseded")
    runner.clock.passes(60)
    assert [one.reference for one in runner.ledger.owed(set())] == [
        runner.reference(NAME)
    ]
