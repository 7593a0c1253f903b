"""However a run ends, the ledger is told."""

import pytest

from tests.support.harness.jobs import Between, Workshop
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import tar_of
from workers import jobs
from workers.jobqueue import OutOfTime
from workers.ledger import Outcome
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]


def test_who_lost_the_lease_publishes_nothing_and_says_nothing(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    before = shop.revision

    def freeze() -> None:
        """Let the process sleep until another one has taken over."""
        shop.clock.passes(3600)
        assert shop.ledger.begin(shop.reference(NAME), worker="another")

    shop.when_asked("/blobs/", freeze)
    told = jobs.run_job(shop.services, Reference.parse(shop.reference(NAME)))

    assert "another worker" in told
    assert shop.revision == before
    record = shop.image(NAME)
    assert record.is_running
    assert record.last_run is not None
    assert record.last_run.worker == "another"
    assert [run.outcome for run in shop.ledger.runs(shop.reference(NAME))] == [
        Outcome.FAILED  # the lost process
    ]


def test_who_loses_the_lease_while_publishing_has_it_looked_at_again(
    shop: Workshop,
) -> None:
    push(shop, FIRST)
    requested = shop.want(NAME).number

    def freeze() -> None:
        shop.clock.passes(3600)
        assert shop.ledger.begin(shop.reference(NAME), worker="another")

    shop.replace_publisher(lambda real: Between(real, after_publish=freeze))
    jobs.run_job(shop.services, Reference.parse(shop.reference(NAME)))

    assert shop.file(NAME, "etc/motd") == b"first"
    assert shop.image(NAME).requested == requested + 1


def test_a_mistake_of_ours_is_told_without_its_text_and_tried_a_few_times(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    push(shop, FIRST)
    shop.want(NAME)

    def mistake() -> None:
        raise RuntimeError("with a secret in it")

    shop.replace_publisher(lambda real: Between(real, before_read=mistake))
    for _ in range(2):
        assert shop.run(NAME).next_try is not None
        shop.wait_for_next_try(NAME)
    run = shop.run(NAME)
    assert run.next_try is None
    assert (run.reason or "").startswith("internal error (RuntimeError)")
    assert "secret" not in (run.reason or "")
    assert "RuntimeError: with a secret in it" in caplog.text


def test_a_job_that_takes_too_long_is_not_tried_again(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)

    def is_over() -> None:
        raise OutOfTime

    shop.replace_publisher(lambda real: Between(real, before_publish=is_over))
    run = shop.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "longer than 4 hours" in (run.reason or "")
