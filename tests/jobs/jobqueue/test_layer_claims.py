"""A layer that the repository holds is neither fetched nor unpacked again."""

import json
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support.harness.jobs import FQRN, Between, Workshop
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import Image, Layer, digest_of, gzip_layer, tar_of
from workers.formats.layers import layer_path
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
        tars.hard_link(b"bin2", b"bin"),
    )
)
OTHER = gzip_layer(tar_of({"other": b"other"}))
FIRST, SECOND = "atlas/first:v1", "atlas/second:v1"


def push(shop: Workshop, name: str, *layers: Layer) -> Image:
    """Put an image into the registry; its config is its own."""
    repository, _, tag = name.partition(":")
    config = {"author": name}
    return shop.registry.push_image(repository, tag, list(layers), config=config)


def fetched(shop: Workshop, layer: Layer) -> int:
    return len(shop.registry.seen("GET", f"/blobs/{digest_of(layer.blob)}"))


def test_a_layer_that_two_images_share_is_fetched_once(shop: Workshop) -> None:
    push(shop, FIRST, BASE, TOP)
    push(shop, SECOND, BASE, OTHER)
    shop.publish(FIRST)
    shop.publish(SECOND)
    assert (fetched(shop, BASE), fetched(shop, TOP), fetched(shop, OTHER)) == (1, 1, 1)


def test_an_image_made_of_published_layers_is_the_one_made_of_fetched_layers(
    shop: Workshop,
) -> None:
    image = push(shop, FIRST, BASE, TOP)
    shop.publish(FIRST)
    fresh = shop.listing(image.config_digest)
    assert fresh[b"bin2"].linked == b"bin"
    assert b"etc/gone" not in fresh
    again = push(shop, SECOND, BASE, TOP)
    shop.publish(SECOND)
    assert fetched(shop, TOP) == 1
    assert shop.listing(again.config_digest) == fresh


def test_layers_are_published_beside_the_image_and_read_back(shop: Workshop) -> None:
    push(shop, FIRST, BASE, TOP)
    shop.publish(FIRST)
    snapshot = shop.repository.read()
    for layer in (BASE, TOP):
        path = layer_path(digest_of(layer.blob))
        record = snapshot.lookup(path + b"/.metadata/layer.json")
        assert record is not None
        assert json.loads(snapshot.read(record))["diff_id"] == layer.diff_id
    gone = snapshot.lookup(layer_path(digest_of(TOP.blob)) + b"/layerfs/etc/gone")
    assert gone is not None
    assert gone.mode == 0o020000


def test_a_rule_without_layers_publishes_none(shop: Workshop) -> None:
    shop.allow(formats="[flat]")
    push(shop, FIRST, BASE)
    shop.publish(FIRST)
    assert shop.repository.read().lookup(b"/.layers") is None


def test_a_forced_rebuild_trusts_no_published_layer(shop: Workshop) -> None:
    push(shop, FIRST, BASE)
    shop.publish(FIRST)
    shop.publish(FIRST, forced=True)
    assert fetched(shop, BASE) == 2


def test_a_layer_that_stands_twice_in_an_image_is_published_once(
    shop: Workshop,
) -> None:
    image = push(shop, FIRST, OTHER, BASE, OTHER)
    shop.publish(FIRST)
    assert {b"other", b"bin"} <= shop.listing(image.config_digest).keys()


def test_two_jobs_that_share_a_layer_at_the_same_moment_make_it_once(
    shop: Workshop, server: RedisServer, tmp_path: Path
) -> None:
    push(shop, FIRST, BASE, TOP)
    push(shop, SECOND, BASE, OTHER)
    is_publishing, may_go_on = Event(), Event()

    def wait() -> None:
        is_publishing.set()
        assert may_go_on.wait(60)

    shop.want(FIRST)
    shop.want(SECOND)
    real = shop.services
    shop.replace_publisher(lambda publisher: Between(publisher, before_publish=wait))
    slow = Thread(target=shop.run, args=(FIRST,))
    slow.start()
    assert is_publishing.wait(60)
    shop.services = real
    quick = Thread(target=shop.run, args=(SECOND,))
    quick.start()
    may_go_on.set()
    slow.join(60)
    quick.join(60)
    outcomes = {
        shop.ledger.runs(shop.reference(n), 1)[0].outcome for n in (FIRST, SECOND)
    }
    assert outcomes == {Outcome.PUBLISHED}
    assert fetched(shop, BASE) == 1


def test_nothing_is_published_that_does_not_read_back_as_it_was_pushed(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(shop, FIRST, BASE)
    shop.want(FIRST)
    before = shop.revision

    def lie(*_: object) -> None:
        raise VerificationFailed("the published tree is not what was pushed")

    monkeypatch.setattr("workers.run.converting.verify", lie)
    run = shop.run(FIRST)
    assert run.outcome is Outcome.FAILED
    assert "not what was pushed" in (run.reason or "")
    assert shop.revision == before


def test_a_claim_waits_for_another_and_gives_up_when_the_work_should_stop(
    server: RedisServer,
) -> None:
    class Stop(Exception):
        """The work should stop."""

    def stop() -> None:
        raise Stop

    with server.client() as connection, ExitStack() as stack:
        claims = LayerClaims(connection)
        stack.enter_context(claims.claim(FQRN, ["b", "a"], stop))
        stack.enter_context(claims.claim(FQRN, ["c"], stop))
        with pytest.raises(Stop), claims.claim(FQRN, ["d", "a"], stop):
            pass
        stack.close()
        with claims.claim(FQRN, ["a", "b", "d"], stop):
            pass


def test_without_redis_a_claim_is_done_without(server: RedisServer) -> None:
    with server.client() as connection:
        claims = LayerClaims(connection)
        connection.connection_pool.connection_kwargs["port"] = 1
        connection.connection_pool.connection_kwargs["retry"] = None
        connection.connection_pool.reset()
        with claims.claim(FQRN, ["a"], lambda: None):
            pass
