"""A job that garbage collection overtakes begins again; its image is not to blame."""

import os
import time

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.images.oci import tar_of
from workers.care.repository import collect_garbage
from workers.cvmfs import Retention
from workers.ledger import Outcome, State


def test_what_a_job_had_stored_is_stored_again(runner: JobRunner) -> None:
    runner.registry.push_image("atlas/debian", "12", [tar_of({"motd": b"hi"})])
    collections: list[int] = []

    def collect() -> None:
        """Delete what the job has just stored, as if it had lain there for long."""
        if collections:
            return
        folder = runner.config.parent / "cvmfs" / "data"
        for path in folder.glob("??/*"):
            os.utime(path, (1, 1))
        done = collect_garbage(
            runner.services.config,
            FQRN,
            Retention(grace_seconds=60),
            dry_run=False,
            tell=lambda _: None,
        )
        collections.append(done.deleted.objects)

    runner.replace_publisher(
        lambda real: PublisherWithHooks(real, before_publish=collect)
    )
    runner.want("atlas/debian:12")
    run = runner.run("atlas/debian:12")
    assert collections[0] > 0
    assert run.outcome is Outcome.FAILED
    assert "garbage was collected during this run" in (run.reason or "")
    assert run.next_try is not None
    assert run.next_try < runner.clock() + 60 < time.time() + 120
    runner.wait_for_next_try("atlas/debian:12")
    assert runner.run("atlas/debian:12").outcome is Outcome.PUBLISHED
    assert runner.image("atlas/debian:12").state is State.LIVE
    assert runner.file("atlas/debian:12", "motd") == b"hi"
