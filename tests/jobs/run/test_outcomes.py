"""However a run ends, the ledger is told."""

import logging
import re
from collections.abc import Callable

import pytest
import zstandard

from tests.support.harness.jobs import JobRunner, PublisherWithHooks
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import tar_of
from workers import jobs
from workers.images.tar.decompress import DamagedLayer
from workers.jobqueue import OutOfTime
from workers.ledger import Outcome
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]


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


def _refused_outright() -> None:
    raise MemoryError


def _refused_and_called_damage() -> None:
    error = zstandard.ZstdError("Allocation error : not enough memory")
    raise DamagedLayer("zstd: the layer is corrupt") from error


@pytest.mark.parametrize("refused", [_refused_outright, _refused_and_called_damage])
def test_a_job_that_wants_more_memory_is_not_tried_again(
    runner: JobRunner, refused: Callable[[], None]
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.replace_publisher(lambda real: PublisherWithHooks(real, before_read=refused))
    run = runner.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "needed more than 512 MiB of memory" in (run.reason or "")


def test_the_log_tells_each_run_in_one_line_with_its_duration(
    runner: JobRunner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    push(runner, FIRST)
    runner.publish(NAME)
    runner.want("atlas/absent:v1")
    runner.run("atlas/absent:v1")
    published, failed = [
        record.getMessage()
        for record in caplog.records
        if record.name == "workers.jobs"
    ]
    name = runner.reference(NAME)
    assert re.match(rf"reference={name} published seconds=\d+\.\d ", published)
    assert re.search(r":v1 failed: .* seconds=\d+\.\d ", failed)
    others = [r for r in caplog.records if r.name != "workers.jobs"]
    assert [r for r in others if r.name.startswith(("webhook", "workers"))] == []


def test_a_reason_does_not_say_the_name_that_stands_before_it(
    runner: JobRunner,
) -> None:
    runner.want("atlas/absent:v1")
    reason = runner.run("atlas/absent:v1").reason or ""
    assert reason
    assert not reason.startswith(runner.registry.host)
