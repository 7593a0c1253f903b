"""What does not fit is not fetched, and is tried again when there is room."""

import dataclasses
import os

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images.oci import digest_of, gzip_layer, tar_of
from workers.config.disk_space import repository_disk
from workers.ledger import Outcome

NAME = "atlas/analysis:v1"
LAYER = gzip_layer(tar_of({"noise": os.urandom(2 << 20)}))


def leave_room(runner: JobRunner, size: int) -> None:
    """Let the disk have so much room above its floor, about."""
    config = runner.services.config
    disk = repository_disk(config, FQRN)
    assert disk is not None
    config = dataclasses.replace(config, disk_floor=disk.free - size)
    runner.services = dataclasses.replace(runner.services, config=config)


def blobs(runner: JobRunner) -> list[str]:
    return [
        one.path
        for one in runner.registry.seen()
        if one.method == "GET" and "/blobs/" in one.path
    ]


def test_what_does_not_fit_is_not_fetched(runner: JobRunner) -> None:
    runner.registry.push_image("atlas/analysis", "v1", [LAYER])
    runner.want(NAME)
    leave_room(runner, -(1 << 30))
    ended = runner.run(NAME)
    assert ended.outcome is Outcome.FAILED
    assert f"{FQRN}: No space left on device" in (ended.reason or "")
    assert f"repository gc {FQRN}" in (ended.reason or "")
    assert not any(digest_of(LAYER.blob) in path for path in blobs(runner))
    leave_room(runner, 1 << 40)
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_what_is_there_needs_no_room(runner: JobRunner) -> None:
    runner.registry.push_image("atlas/analysis", "v0", [LAYER])
    runner.publish("atlas/analysis:v0")
    runner.registry.push_image("atlas/analysis", "v1", [LAYER])
    leave_room(runner, -(1 << 30))
    runner.publish(NAME)
