"""A layer that the repository holds is neither fetched nor unpacked again."""

import json
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import Image, Layer, digest_of, gzip_layer, tar_of
from workers.formats.paths import layer_path
from workers.images.layers.verify import VerificationFailed
from workers.jobqueue.layer_claims import LayerClaims
from workers.ledger import Outcome

BASE = gzip_layer(
    tars.tar(
        tars.directory(b"etc", mode=0o711),
        tars.file(b"etc/passwd", b"root"),
        tars.file(b"etc/gone", b""),
        tars.file(b"bin", b"elf", mode=0o4755),
    )
)
TOP = gzip_layer(
    tars.tar(
        tars.whiteout(b"etc/gone"),
        tars.file(b"etc/new", b"new"),
        tars.file(b"bin", b"#!/bin/sh"),
        tars.hard_link(b"bin2", b"bin"),
    )
)
OTHER = gzip_layer(tar_of({"other": b"other"}))
FIRST, SECOND = "atlas/first:v1", "atlas/second:v1"


def push(runner: JobRunner, name: str, *layers: Layer) -> Image:
    """Put an image into the registry; its config is its own."""
    repository, _, tag = name.partition(":")
    config = {"author": name}
    return runner.registry.push_image(repository, tag, list(layers), config=config)


def fetched(runner: JobRunner, layer: Layer) -> int:
    return len(runner.registry.seen("GET", f"/blobs/{digest_of(layer.blob)}"))


def test_a_layer_that_two_images_share_is_fetched_once(runner: JobRunner) -> None:
    push(runner, FIRST, BASE, TOP)
    push(runner, SECOND, BASE, OTHER)
    runner.publish(FIRST)
    runner.publish(SECOND)
    assert (fetched(runner, BASE), fetched(runner, TOP), fetched(runner, OTHER)) == (
        1,
        1,
        1,
    )


def test_an_image_made_of_published_layers_is_the_one_made_of_fetched_layers(
    runner: JobRunner,
) -> None:
    image = push(runner, FIRST, BASE, TOP)
    runner.publish(FIRST)
    fresh = runner.listing(image.config_digest)
    assert fresh[b"bin2"].linked == b"bin"
    assert b"etc/gone" not in fresh
    again = push(runner, SECOND, BASE, TOP)
    runner.publish(SECOND)
    assert fetched(runner, TOP) == 1
    assert runner.listing(again.config_digest) == fresh


def test_layers_are_published_beside_the_image_and_read_back(runner: JobRunner) -> None:
    push(runner, FIRST, BASE, TOP)
    runner.publish(FIRST)
    snapshot = runner.repository.read()
    for layer in (BASE, TOP):
        path = layer_path(digest_of(layer.blob))
        record = snapshot.lookup(path + b"/.metadata/blob.json")
        assert record is not None
        assert json.loads(snapshot.read(record))["diff_id"] == layer.diff_id
    gone = snapshot.lookup(layer_path(digest_of(TOP.blob)) + b"/layerfs/etc/gone")
    assert gone is not None
    assert gone.mode == 0o020000


def test_a_rule_without_layers_publishes_none(runner: JobRunner) -> None:
    runner.allow(formats="[flat]")
    push(runner, FIRST, BASE)
    runner.publish(FIRST)
    assert runner.repository.read().lookup(b"/.layers") is None


def test_a_forced_rebuild_trusts_no_published_layer(runner: JobRunner) -> None:
    push(runner, FIRST, BASE)
    runner.publish(FIRST)
    runner.publish(FIRST, forced=True)
    assert fetched(runner, BASE) == 2


def test_a_layer_that_stands_twice_in_an_image_is_published_once(
    runner: JobRunner,
) -> None:
    image = push(runner, FIRST, OTHER, BASE, OTHER)
    runner.publish(FIRST)
    assert {b"other", b"bin"} <= runner.listing(image.config_digest).keys()


def test_two_jobs_that_share_a_layer_at_the_same_moment_make_it_once(
    runner: JobRunner, redis_server: RedisServer, tmp_path: Path
) -> None:
    push(runner, FIRST, BASE, TOP)
    push(runner, SECOND, BASE, OTHER)
    is_publishing, may_go_on = Event(), Event()

    def wait() -> None:
        is_publishing.set()
        assert may_go_on.wait(60)

    runner.want(FIRST)
    runner.want(SECOND)
    real = runner.services
    runner.replace_publisher(
        lambda publisher: PublisherWithHooks(publisher, before_publish=wait)
    )
    slow = Thread(target=runner.run, args=(FIRST,))
    slow.start()
    assert is_publishing.wait(60)
    runner.services = real
    quick = Thread(target=runner.run, args=(SECOND,))
    quick.start()
    may_go_on.set()
    slow.join(60)
    quick.join(60)
    outcomes = {
        runner.ledger.runs(runner.reference(n), 1)[0].outcome for n in (FIRST, SECOND)
    }
    assert outcomes == {Outcome.PUBLISHED}
    assert fetched(runner, BASE) == 1


def test_nothing_is_published_that_does_not_read_back_as_it_was_pushed(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(runner, FIRST, BASE)
    runner.want(FIRST)
    before = runner.revision

    def lie(*_: object) -> None:
        raise VerificationFailed("the published tree is not what was pushed")

    monkeypatch.setattr("workers.formats.flat.verify", lie)
    run = runner.run(FIRST)
    assert run.outcome is Outcome.FAILED
    assert "not what was pushed" in (run.reason or "")
    assert runner.revision == before


def test_a_claim_waits_for_another_and_gives_up_when_the_work_should_stop(
    redis_server: RedisServer,
) -> None:
    class Stop(Exception):
        """The work should stop."""

    def stop() -> None:
        raise Stop

    with redis_server.client() as connection, ExitStack() as stack:
        claims = LayerClaims(connection)
        stack.enter_context(claims.claim(FQRN, ["b", "a"], stop))
        stack.enter_context(claims.claim(FQRN, ["c"], stop))
        with pytest.raises(Stop), claims.claim(FQRN, ["d", "a"], stop):
            pass
        stack.close()
        with claims.claim(FQRN, ["a", "b", "d"], stop):
            pass


def test_a_claim_without_an_end_is_not_waited_for(redis_server: RedisServer) -> None:
    asked = []
    with redis_server.client() as connection:
        key = f"cvmfs-webhook:claim:{FQRN}:a"
        connection.set(key, "x")
        with LayerClaims(connection).claim(FQRN, ["a"], lambda: asked.append(1)):
            assert connection.pttl(key) > 0
    assert len(asked) == 1


def test_without_redis_a_claim_is_done_without(redis_server: RedisServer) -> None:
    with redis_server.client() as connection:
        claims = LayerClaims(connection)
        connection.connection_pool.connection_kwargs["port"] = 1
        connection.connection_pool.connection_kwargs["retry"] = None
        connection.connection_pool.reset()
        with claims.claim(FQRN, ["a"], lambda: None):
            pass
