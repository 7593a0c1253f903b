"""What a repository says of its images is enough to know them again."""

from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.steering import NAME, publish, restore
from tests.support.harness.thin_images import open_thin_job_runner
from tests.support.images.oci import tar_of
from tests.support.registries.fake_registry import FakeRegistry
from workers.cvmfs import StorageFailed
from workers.ledger import Rebuilder, State
from workers.published.images import published_images

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]

LAYERS = [tar_of({"motd": b"hello"}), tar_of({"bin/run": b"#!/bin/sh\n"})]


def test_where_a_thin_image_is_is_told_and_known_again_without_the_ledger(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        FakeRegistry() as host,
        open_thin_job_runner(redis_server, tmp_path, host.host) as runner,
    ):
        runner.registry.push_image("atlas/analysis", "v1", LAYERS)
        thin = f"{host.host}/thin/{NAME}"
        assert runner.publish(NAME).places["thin"] == thin
        found = published_images(runner.repository.read()).images
        assert found[runner.reference(NAME)].live.places["thin"] == thin


def test_a_rebuilt_ledger_knows_of_a_restoration(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    restore(runner, first)
    runner.services.front.connection.flushall()
    snapshot = runner.repository.read()
    found = published_images(snapshot)
    rebuilder = Rebuilder(runner.services.front.connection, clock=runner.clock)
    dict(rebuilder.rebuild(FQRN, snapshot.revision, found.images))
    record = runner.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert (record.digest, record.restored_instead_of) == (second.digest, second.digest)
    assert not found.unreadable


def test_a_storage_that_fails_is_no_image_that_is_gone(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(runner, FIRST)
    snapshot = runner.repository.read()

    def fail(_: object) -> bytes:
        raise StorageFailed("the bucket answers 503")

    monkeypatch.setattr(snapshot, "read", fail)
    with pytest.raises(StorageFailed, match="503"):
        published_images(snapshot)
