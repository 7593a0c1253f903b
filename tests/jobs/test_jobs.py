"""The story of a job: what is published, when, and what stops it."""

import dataclasses
import importlib
import inspect
import json
import time
from threading import Event, Thread

import pytest
import redis

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import Image, build_image, digest_of, tar_of
from workers import jobs
from workers.formats.flat import RECEIPT
from workers.formats.layers import layer_path
from workers.formats.paths import flat_path, image_path, metadata_path
from workers.jobqueue import JOB_FUNCTION, JobQueue, OutOfTime
from workers.ledger import LedgerUnavailable, Outcome, State
from workers.policy import PolicyFile
from workers.publishing.native import NativePublisher
from workers.reference import Reference
from workers.run import assemble
from workers.wiring import open_repository

NAME, OTHER = "atlas/analysis:v1", "atlas/analysis:v2"
FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


def push(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    """Put an image into the registry; nobody is told."""
    repository, _, tag = name.partition(":")
    return runner.registry.push_image(repository, tag, layers)


def metadata(runner: JobRunner, file: bytes, name: str = NAME) -> bytes:
    """Return what the repository has beside a tag."""
    snapshot = runner.repository.read()
    folder = metadata_path(Reference.parse(runner.reference(name)))
    dirent = snapshot.lookup(folder + b"/" + file)
    assert dirent is not None
    return snapshot.read(dirent)


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


def test_an_image_is_published_with_what_it_is_made_of(runner: JobRunner) -> None:
    image = push(runner, FIRST)

    record = runner.publish(NAME)

    assert record.state is State.LIVE
    assert record.digest == record.live_digest == image.digest
    assert (record.repository, record.revision) == (FQRN, runner.revision)
    assert record.path == f"/{runner.reference(NAME)}"
    assert runner.file(NAME, "etc/motd") == b"first"
    assert metadata(runner, b"manifest.json") == image.manifest
    assert metadata(runner, b"config.json") == image.config


def test_a_job_for_what_nobody_wants_does_nothing(runner: JobRunner) -> None:
    push(runner, FIRST)
    told = jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))
    assert "nothing is owed" in told
    assert not runner.registry.seen()


# What is unchanged, and what is not.


def test_an_unchanged_image_is_neither_downloaded_nor_published(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    before = runner.publish(NAME)
    asked = len(runner.registry.seen("GET"))

    runner.want(NAME)
    run = runner.run(NAME)

    assert run.outcome is Outcome.UNCHANGED
    assert len(runner.registry.seen("GET")) == asked
    after = runner.image(NAME)
    assert (after.state, after.since) == (State.LIVE, before.since)
    assert after.revision == before.revision == runner.revision


def test_pushing_two_images_in_turn_publishes_each_time(runner: JobRunner) -> None:
    revisions: list[int] = []
    for layers in (FIRST, SECOND, FIRST):
        image = push(runner, layers)
        runner.want(NAME, image.digest)
        assert runner.run(NAME).outcome is Outcome.PUBLISHED
        record = runner.image(NAME)
        assert record.live_digest == image.digest
        revisions.append(record.revision or 0)
    assert runner.file(NAME, "etc/motd") == b"first"
    assert len(set(revisions)) == 3
    assert record.revision == runner.revision == max(revisions)


def test_an_image_that_comes_back_is_not_downloaded_again(runner: JobRunner) -> None:
    for layers in (FIRST, SECOND):
        push(runner, layers)
        runner.publish(NAME)
    first = push(runner, FIRST)
    layer = first.layers[0]
    asked = len(runner.registry.seen("GET", "/blobs/"))
    runner.publish(NAME)
    since = runner.registry.seen("GET", "/blobs/")[asked:]
    assert [seen.path.rpartition("/")[2] for seen in since] == [first.config_digest]
    assert layer.diff_id not in str(since)


def test_a_second_tag_of_the_same_image_reuses_its_tree(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    runner.publish(NAME)
    asked = len(runner.registry.seen("GET", "/blobs/"))
    runner.registry.hold_image("atlas/analysis", "v2", image)

    runner.want(OTHER)
    run = runner.run(OTHER)

    assert run.outcome is Outcome.PUBLISHED
    assert State.CONVERTING not in run.seconds_by_stage
    assert len(runner.registry.seen("GET", "/blobs/")) == asked + 1  # the config
    assert runner.file(OTHER, "etc/motd") == b"first"


def test_a_forced_rebuild_converts_what_is_unchanged(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    asked = len(runner.registry.seen("GET", "/blobs/"))
    runner.want(NAME, forced=True)
    run = runner.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert len(runner.registry.seen("GET", "/blobs/")) == asked + 2


def test_an_image_by_an_older_converter_is_converted_again(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    monkeypatch.setattr(assemble, "CONVERTER", assemble.CONVERTER + 1)
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert State.CONVERTING in run.seconds_by_stage
    receipt = json.loads(metadata(runner, RECEIPT))
    assert receipt["converter"] == assemble.CONVERTER


def test_a_changed_rule_makes_an_image_not_unchanged(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    runner.allow(formats="[flat]")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_rule_without_flat_trees_leaves_no_name_that_leads_nowhere(
    runner: JobRunner,
) -> None:
    image = push(runner, FIRST)
    runner.publish(NAME)
    runner.allow(formats="[layers]")
    record = runner.publish(NAME)
    assert record.live_digest == image.digest
    read = runner.repository.read()
    reference = Reference.parse(runner.reference(NAME))
    assert read.lookup(image_path(reference)) is None
    assert read.lookup(layer_path(digest_of(image.layers[0].blob))) is not None
    assert runner.publish(NAME).revision == record.revision


def test_a_damaged_receipt_only_costs_a_publication(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.publish(NAME)
    publisher = runner.services.publishers[FQRN]

    class Garbled(PublisherWithHooks):
        def read(self, path: bytes) -> bytes | None:
            return b"[1, 2]" if super().read(path) else None

    runner.replace_publisher(Garbled)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert publisher.read(b"/nowhere") is None


def test_an_index_is_known_by_its_own_digest_and_kept_by_its_platforms(
    runner: JobRunner,
) -> None:
    ours, other = (
        build_image(FIRST, platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    )
    index = runner.registry.push_index("atlas/analysis", "v1", [other, ours])

    record = runner.publish(NAME)

    assert record.live_digest == index.digest != ours.digest
    assert metadata(runner, b"manifest.json") == ours.manifest
    assert json.loads(metadata(runner, RECEIPT))["digest"] == index.digest
    runner.want(NAME, index.digest)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED


# Newest wins.


def test_a_run_that_is_overtaken_stops_before_it_publishes(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    before = runner.revision
    runner.when_registry_is_asked(
        "/blobs/", lambda: (push(runner, SECOND), runner.want(NAME))
    )

    run = runner.run(NAME)

    assert run.outcome is Outcome.SUPERSEDED
    assert runner.revision == before
    assert runner.image(NAME).state is State.QUEUED
    assert runner.services.front.queue.depth() == 1
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"second"


def test_a_run_completes_after_two_that_were_overtaken(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.when_registry_is_asked("/blobs/", lambda: runner.want(NAME), times=None)
    outcomes = [runner.run(NAME).outcome for _ in range(3)]
    assert outcomes == [Outcome.SUPERSEDED, Outcome.SUPERSEDED, Outcome.PUBLISHED]
    assert runner.file(NAME, "etc/motd") == b"first"
    assert runner.run(NAME).outcome is Outcome.UNCHANGED


def test_who_lost_the_lease_publishes_nothing_and_says_nothing(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    before = runner.revision

    def freeze() -> None:
        """Let the process sleep until another one has taken over."""
        runner.clock.passes(3600)
        assert runner.ledger.begin(runner.reference(NAME), worker="another")

    runner.when_registry_is_asked("/blobs/", freeze)
    told = jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))

    assert "another worker" in told
    assert runner.revision == before
    record = runner.image(NAME)
    assert record.is_running
    assert record.last_run is not None
    assert record.last_run.worker == "another"
    assert [run.outcome for run in runner.ledger.runs(runner.reference(NAME))] == [
        Outcome.FAILED  # the lost process
    ]


def test_who_loses_the_lease_while_publishing_has_it_looked_at_again(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    requested = runner.want(NAME).number

    def freeze() -> None:
        runner.clock.passes(3600)
        assert runner.ledger.begin(runner.reference(NAME), worker="another")

    runner.replace_publisher(
        lambda real: PublisherWithHooks(real, after_publish=freeze)
    )
    jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))

    assert runner.file(NAME, "etc/motd") == b"first"
    assert runner.image(NAME).requested == requested + 1


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


# The registry's word.


def test_a_tag_that_has_not_moved_yet_is_waited_for(runner: JobRunner) -> None:
    push(runner, FIRST)
    second = build_image(SECOND)
    runner.want(NAME, second.digest, age=0)

    def move() -> None:
        runner.registry.hold_image("atlas/analysis", "v1", second)

    runner.when_registry_is_asked("/manifests/v1", move, method="HEAD")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).live_digest == second.digest


def test_a_tag_that_is_not_there_yet_is_waited_for(runner: JobRunner) -> None:
    image = build_image(FIRST)
    runner.want(NAME, None, age=0)

    def appear() -> None:
        runner.registry.hold_image("atlas/analysis", "v1", image)

    runner.when_registry_is_asked("/manifests/v1", appear, method="HEAD")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_the_registry_is_right_where_a_hint_is_not(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    lie = build_image(SECOND).digest
    runner.want(NAME, lie, age=29.5)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).live_digest == image.digest
    assert len(runner.registry.seen("HEAD", "/manifests/v1")) > 1


# The policy's word.


def test_a_policy_that_changed_meanwhile_decides(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    host = runner.registry.host
    runner.write_policy(
        f'version: 1\nrules:\n  - deny: "{host}/**"\n    reason: we have left\n'
    )

    run = runner.run(NAME)

    assert run.outcome is Outcome.REFUSED
    assert "we have left" in (run.reason or "")
    assert runner.image(NAME).state is State.REFUSED
    assert not runner.registry.seen()


def test_while_the_policy_is_broken_the_last_good_one_decides(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.services.policy.current()  # as the worker does before it forks
    runner.write_policy("rules: [")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_policy_that_was_never_good_refuses_nobody(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.write_policy("rules: [")
    fresh = PolicyFile(runner.services.config.policy)
    runner.services = dataclasses.replace(runner.services, policy=fresh)

    run = runner.run(NAME)

    assert run.outcome is Outcome.FAILED
    assert "the policy file is broken" in (run.reason or "")
    runner.allow()
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


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


def test_what_only_we_can_pull_is_refused_unless_the_rule_allows_it(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.registry.make_private("atlas/analysis")
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.REFUSED
    assert "`private: allow`" in (run.reason or "")
    assert not runner.registry.seen("GET", "/blobs/")

    runner.allow(private="allow")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_missing_label_is_refused_with_the_line_that_mends_it(
    runner: JobRunner,
) -> None:
    runner.allow(require_label='{org.cvmfs.publish: "true"}')
    push(runner, FIRST)
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.REFUSED
    assert 'LABEL org.cvmfs.publish="true"' in (run.reason or "")

    labels = {"Labels": {"org.cvmfs.publish": "true"}}
    runner.registry.push_image("atlas/analysis", "v1", FIRST, config={"config": labels})
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


# What may pass, and what cannot.


def test_what_may_pass_is_tried_again_ever_later_and_not_for_ever(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=503)
    delays = []
    while True:
        before = time.time()
        run = runner.run(NAME)
        assert run.outcome is Outcome.FAILED
        assert "answered 503" in (run.reason or "")
        if run.next_try is None:
            break
        delays.append(round(run.next_try - before))
        runner.wait_for_next_try(NAME)
    assert delays == [5, 15, 45, 135, 405, 1215, 1800, 1800, 1800]
    record = runner.image(NAME)
    assert "given up after 10 attempts" in (record.reason or "")
    assert (record.state, record.next_try) == (State.FAILED, None)


def test_what_has_passed_is_published_at_the_next_try(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=500, times=1)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert runner.services.front.queue.depth() == 0
    told = jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))
    assert "nothing is owed" in told  # not yet
    runner.wait_for_next_try(NAME)
    assert runner.ledger.owed(set())
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize(("asked", "granted"), [(120, 120), (1, 5), (10**6, 3600)])
def test_a_registry_that_says_when_to_come_back_is_heeded(
    runner: JobRunner, asked: int, granted: int
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    headers = {"Retry-After": str(asked)}
    runner.registry.fail("HEAD", "/manifests/", status=429, headers=headers)
    before = time.time()
    run = runner.run(NAME)
    assert run.next_try is not None
    assert round(run.next_try - before) == granted


def test_what_cannot_pass_is_not_tried_again(runner: JobRunner) -> None:
    runner.want(NAME)
    run = runner.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "answered 404" in (run.reason or "")
    assert runner.ledger.next_due() is None


def test_a_blob_that_is_altered_on_its_way_is_not_fetched_for_ever(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.corrupt("/blobs/")
    for _ in range(2):
        assert runner.run(NAME).next_try is not None
        runner.wait_for_next_try(NAME)
    run = runner.run(NAME)
    assert "has other content" in (run.reason or "")
    assert run.next_try is None


def test_a_mistake_of_ours_is_told_without_its_text_and_tried_a_few_times(
    runner: JobRunner, caplog: pytest.LogCaptureFixture
) -> None:
    push(runner, FIRST)
    runner.want(NAME)

    def mistake() -> None:
        raise RuntimeError("with a secret in it")

    runner.replace_publisher(lambda real: PublisherWithHooks(real, before_read=mistake))
    for _ in range(2):
        assert runner.run(NAME).next_try is not None
        runner.wait_for_next_try(NAME)
    run = runner.run(NAME)
    assert run.next_try is None
    assert (run.reason or "").startswith("internal error (RuntimeError)")
    assert "secret" not in (run.reason or "")
    assert "RuntimeError: with a secret in it" in caplog.text


def test_a_job_that_takes_too_long_is_not_tried_again(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)

    def is_over() -> None:
        raise OutOfTime

    runner.replace_publisher(
        lambda real: PublisherWithHooks(real, before_publish=is_over)
    )
    run = runner.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "longer than 4 hours" in (run.reason or "")


def test_a_new_push_forgets_the_failures_of_the_old_one(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=500, times=1)
    runner.run(NAME)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


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


@pytest.mark.parametrize("moment", ["before_publish", "after_publish"])
def test_killed_around_the_publication_the_image_goes_live(
    runner: JobRunner, moment: str
) -> None:
    image = push(runner, FIRST)
    runner.want(NAME)
    real = runner.services.publishers[FQRN]

    def kill() -> None:
        raise Killed

    runner.replace_publisher(lambda real: PublisherWithHooks(real, **{moment: kill}))
    with pytest.raises(Killed):
        jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))

    runner.replace_publisher(lambda _: real)
    runner.expire_leases_and_claims()
    run = runner.run(NAME)
    is_in = moment == "after_publish"
    assert run.outcome is (Outcome.UNCHANGED if is_in else Outcome.PUBLISHED)
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, image.digest)
    assert record.revision == runner.revision


def test_a_job_that_cannot_be_queued_again_is_left_to_the_sweep(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.when_registry_is_asked("/blobs/", lambda: runner.want(NAME))

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


def test_a_rule_that_names_no_repository_where_it_has_to_says_so(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    real = runner.services.publishers[FQRN]
    config = runner.services.config
    second = NativePublisher("other.example.org", lambda: open_repository(config, FQRN))
    publishers = {FQRN: real, "other.example.org": second}
    runner.services = dataclasses.replace(runner.services, publishers=publishers)
    runner.want(NAME)
    run = runner.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "write to:" in (run.reason or "")


def test_a_tree_that_is_shared_is_where_its_config_says(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    runner.publish(NAME)
    assert runner.repository.read().lookup(flat_path(image.config_digest)) is not None
