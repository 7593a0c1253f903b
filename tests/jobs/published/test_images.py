"""What a repository says of its images is enough to know them again."""

from pathlib import Path

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.steering import NAME, publish, restore
from tests.support.harness.thin_images import thin_shop
from tests.support.images.oci import tar_of
from tests.support.registries.writable_registry import WritableRegistry
from workers.ledger import Rebuilder, State
from workers.published.images import published_images

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]

LAYERS = [tar_of({"motd": b"hello"}), tar_of({"bin/run": b"#!/bin/sh\n"})]


def test_where_a_thin_image_is_is_told_and_known_again_without_the_ledger(
    server: RedisServer, tmp_path: Path
) -> None:
    with WritableRegistry() as host, thin_shop(server, tmp_path, host.host) as shop:
        shop.registry.push_image("atlas/analysis", "v1", LAYERS)
        thin = f"{host.host}/thin/{NAME}"
        assert shop.publish(NAME).places["thin"] == thin
        found = published_images(shop.repository.read()).images
        assert found[shop.reference(NAME)].places["thin"] == thin


def test_a_rebuilt_ledger_knows_of_a_restoration(shop: Workshop) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    restore(shop, first)
    shop.services.front.connection.flushall()
    snapshot = shop.repository.read()
    found = published_images(snapshot)
    rebuilder = Rebuilder(shop.services.front.connection, clock=shop.clock)
    dict(rebuilder.rebuild(FQRN, snapshot.revision, found.images))
    record = shop.image(NAME)
    assert (record.state, record.live_digest) == (State.LIVE, first.digest)
    assert (record.digest, record.held) == (second.digest, second.digest)
    assert not found.unreadable
