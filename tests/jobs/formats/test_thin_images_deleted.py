"""Thin images that are not wanted any more, and those that come back."""

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.thin_images import (
    ELSEWHERE,
    FIRST,
    NAME,
    SAME_FOLDER,
    SECOND,
    TEMPLATE,
    THIN,
    is_published,
    look,
    name_thin,
    order,
    publish,
    push,
    receipt,
    reference,
    stands_for,
    thin_shop,
)
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Image,
    Layer,
    build_image,
    build_index,
    digest_of,
)
from tests.support.registries.distribution import distribution_registry
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from workers.formats.thin_manifest import make_thin
from workers.ledger import Outcome, State, orders
from workers.reference import Reference
from workers.registry import ImageNotFound


@pytest.fixture
def target() -> Iterator[FakeRegistry]:
    """The registry of the thin images."""
    with FakeRegistry() as registry:
        registry.deletes = {"digest"}  # as Distribution does
        yield registry


@pytest.fixture
def shop(
    server: RedisServer, tmp_path: Path, target: FakeRegistry
) -> Iterator[Workshop]:
    with thin_shop(server, tmp_path, target.host) as opened:
        yield opened


# With Distribution.


def test_a_removed_name_takes_its_thin_image_along_and_brings_it_back(
    server: RedisServer, tmp_path: Path
) -> None:
    with (
        distribution_registry(tmp_path / "target") as host,
        thin_shop(server, tmp_path, host) as shop,
    ):
        publish(shop, FIRST)
        thin = Reference.parse(f"{host}/{THIN}:v1")
        digest = shop.services.registry.resolve(thin).digest
        run = order(shop, orders.REMOVE)
        assert (run.outcome, run.reason) == (Outcome.REMOVED, "removed by hand")
        with pytest.raises(ImageNotFound):
            shop.services.registry.resolve(thin)
        shop.publish(NAME)
        assert shop.services.registry.resolve(thin).digest == digest


def test_a_registry_that_deletes_nothing_keeps_no_name_in_cvmfs(
    server: RedisServer, tmp_path: Path
) -> None:
    with (
        distribution_registry(tmp_path / "target", deletes=False) as host,
        thin_shop(server, tmp_path, host) as shop,
    ):
        publish(shop, FIRST)
        run = order(shop, orders.REMOVE)
        assert run.outcome is Outcome.REMOVED
        assert f"the thin image {host}/{THIN}:v1 stays" in (run.reason or "")
        assert "405 (UNSUPPORTED" in (run.reason or "")
        assert "enable deletes there" in (run.reason or "")
        assert "\n" not in (run.reason or "")
        assert not is_published(shop)
        assert shop.image(NAME).state is State.REMOVED
        shop.services.registry.resolve(Reference.parse(f"{host}/{THIN}:v1"))


@pytest.mark.parametrize("template", [ELSEWHERE, SAME_FOLDER])
def test_a_thin_image_with_a_new_name_loses_its_old_one(
    server: RedisServer, tmp_path: Path, template: str
) -> None:
    with (
        distribution_registry(tmp_path / "target") as host,
        thin_shop(server, tmp_path, host) as shop,
    ):
        publish(shop, FIRST)
        name_thin(shop, f"{host}/{template}")
        run = look(shop)
        assert (run.outcome, run.reason) == (Outcome.PUBLISHED, None)
        renamed = shop.services.config.repositories[FQRN].thin
        assert renamed is not None
        shop.services.registry.resolve(renamed.fill(reference(shop)))
        with pytest.raises(ImageNotFound):
            shop.services.registry.resolve(Reference.parse(f"{host}/{THIN}:v1"))
        revision = shop.revision
        assert look(shop).outcome is Outcome.UNCHANGED
        assert shop.revision == revision


# When one goes.


def test_what_is_gone_upstream_takes_its_thin_image_along(
    shop: Workshop, target: FakeRegistry
) -> None:
    shop.allow(formats="[thin]", keep="{grace: 1d}")
    publish(shop, FIRST)
    shop.registry.delete_tag("atlas/analysis", "v1")
    order(shop, orders.LOOK)
    assert target.tags_of(THIN)
    key = f"cvmfs-webhook:image:{shop.reference(NAME)}"
    shop.services.front.connection.hset(key, "gone_since", str(time.time() - 172800))
    target.fail("DELETE", "/manifests/", status=503, times=1)
    for outcome in (Outcome.FAILED, Outcome.REMOVED):
        shop.wait_for_next_try(NAME)
        assert shop.run(NAME).outcome is outcome
    assert not target.tags_of(THIN)


def test_a_rule_without_thin_images_any_more_takes_them_out(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    shop.allow(formats="[layers]")
    assert look(shop).outcome is Outcome.PUBLISHED
    assert not target.tags_of(THIN)
    assert not {"thin", "former_thin"} & set(receipt(shop))
    asked, revision = len(target.seen()), shop.revision
    assert look(shop).outcome is Outcome.UNCHANGED
    assert (len(target.seen()), shop.revision) == (asked, revision)


def test_the_old_one_goes_after_the_new_one_is_there(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    image = push(shop, SECOND)
    name_thin(shop, f"{target.host}/{ELSEWHERE}")
    seen = []

    def note(_path: str, reply: Reply) -> Reply:
        seen.append((receipt(shop), dict(target.tags_of("elsewhere/atlas/analysis"))))
        return reply

    target.spoil("DELETE", "/manifests/sha256:", note)
    assert look(shop).outcome is Outcome.PUBLISHED
    ((said, tags),) = seen
    assert said["digest"] == image.digest
    assert said["thin"] == f"{target.host}/elsewhere/{NAME}"
    assert said["former_thin"] == [f"{target.host}/{THIN}:v1"]
    assert "v1" in tags
    assert "former_thin" not in receipt(shop)


def test_an_old_one_stays_where_a_new_one_cannot_be_pushed(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    name_thin(shop, f"{target.host}/{ELSEWHERE}")
    target.fail("PUT", "/elsewhere/", status=403)
    assert look(shop).outcome is Outcome.FAILED
    assert "v1" in target.tags_of(THIN)
    target.mend()
    assert look(shop).outcome is Outcome.UNCHANGED
    assert not target.tags_of(THIN)


def test_a_moved_tag_moves_its_thin_image_and_nothing_is_deleted(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    second = publish(shop, SECOND)
    assert stands_for(target, second)
    assert not target.seen("DELETE")


def test_a_template_that_comes_back_leaves_nothing_behind(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    before = dict(target.tags_of(THIN))
    name_thin(shop, None)
    run = look(shop)
    assert run.outcome is Outcome.FAILED
    assert f"repositories.{FQRN}.thin" in (run.reason or "")
    name_thin(shop, f"{target.host}/{TEMPLATE}")
    assert look(shop).outcome is Outcome.PUBLISHED
    assert target.tags_of(THIN) == before
    assert not target.seen("DELETE")


def test_an_image_whose_thin_image_can_have_no_name_is_published_all_the_same(
    shop: Workshop, target: FakeRegistry
) -> None:
    shop.allow(formats="[flat, thin]")
    name = "atlas/analysis:" + "v" * 128
    name_thin(shop, f"{target.host}/{SAME_FOLDER}")
    shop.registry.push_image("atlas/analysis", "v" * 128, FIRST)
    shop.want(name)
    run = shop.run(name)
    assert run.outcome is Outcome.FAILED
    assert "tag 'vvv" in (run.reason or "")
    assert shop.file(name, "motd") == b"first"


# Going back.


def test_a_restored_image_has_its_thin_image(
    shop: Workshop, target: FakeRegistry
) -> None:
    first = publish(shop, FIRST)
    second = publish(shop, SECOND)
    assert order(shop, orders.restore(first.digest)).outcome is Outcome.PUBLISHED
    assert stands_for(target, first)
    assert look(shop).outcome is Outcome.UNCHANGED
    assert stands_for(target, first)
    shop.publish(NAME, forced=True)
    assert stands_for(target, second)


def test_a_restored_image_whose_thin_image_could_not_be_pushed_gets_it_later(
    shop: Workshop, target: FakeRegistry
) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    target.fail("PUT", "/manifests/", status=503)
    assert order(shop, orders.restore(first.digest)).outcome is Outcome.FAILED
    shop.wait_for_next_try(NAME)
    target.mend()
    assert shop.run(NAME).outcome is Outcome.UNCHANGED
    assert stands_for(target, first)
    assert shop.image(NAME).live_digest == first.digest


def test_a_push_of_what_a_restoration_replaced_completes_its_thin_image(
    shop: Workshop, target: FakeRegistry
) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    target.fail("PUT", "/manifests/", status=503)
    assert order(shop, orders.restore(first.digest)).outcome is Outcome.FAILED
    target.mend()
    assert look(shop).outcome is Outcome.UNCHANGED
    assert stands_for(target, first)


def test_a_restored_image_of_an_old_template_is_pushed_under_todays(
    shop: Workshop, target: FakeRegistry
) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    name_thin(shop, f"{target.host}/{SAME_FOLDER}")
    assert order(shop, orders.restore(first.digest)).outcome is Outcome.PUBLISHED
    assert set(target.tags_of(THIN)) == {"v1-thin"}
    assert stands_for(target, first, "v1-thin")


def test_what_stays_restored_keeps_its_thin_image_under_the_name_it_has(
    shop: Workshop, target: FakeRegistry
) -> None:
    first = publish(shop, FIRST)
    publish(shop, SECOND)
    order(shop, orders.restore(first.digest))
    name_thin(shop, f"{target.host}/{ELSEWHERE}")
    assert look(shop).outcome is Outcome.UNCHANGED
    assert stands_for(target, first)
    assert shop.image(NAME).places["thin"] == f"{target.host}/{THIN}:v1"
    order(shop, orders.REMOVE)
    assert not target.tags_of(THIN)
    assert not target.tags_of("elsewhere/atlas/analysis")


# What is not ours.


def thin_of(
    shop: Workshop, *, origin: str | None = None, fqrn: str = FQRN, layers: int = 1
) -> Image:
    """Return an image like the thin one, but for what is given."""
    thin = make_thin(
        "somewhere",
        origin or f"https://{reference(shop)}",
        [("sha256:aa", f"cvmfs://{fqrn}/.layers/aa/aa/layerfs")],
        b"{}",
    )
    blob, _ = thin.blobs
    layer = Layer(blob, GZIP_LAYER_TYPE["docker"], digest_of(gzip.decompress(blob)))
    return build_image([layer] * layers, kind="docker")


def test_an_image_that_has_taken_the_name_stays(
    shop: Workshop, target: FakeRegistry
) -> None:
    others = [
        build_image(FIRST),
        thin_of(shop, origin="https://registry.example.org/atlas/analysis:v1"),
        thin_of(shop, fqrn="another.example.org"),
        thin_of(shop, fqrn=f"{FQRN}.another"),
        thin_of(shop, layers=2),
    ]
    for other in others:
        publish(shop, FIRST)
        target.hold_image(THIN, "v1", other)
        assert order(shop, orders.REMOVE).reason == "removed by hand"
        assert target.tags_of(THIN) == {"v1": other.digest}
    assert not target.seen("DELETE")
    publish(shop, FIRST)
    target.hold_image(THIN, "v1", thin_of(shop))
    order(shop, orders.REMOVE)
    assert not target.tags_of(THIN)


@pytest.mark.parametrize("kind", ["index", "artifact"])
def test_what_is_no_image_at_all_stays(
    shop: Workshop, target: FakeRegistry, kind: str
) -> None:
    publish(shop, FIRST)
    if kind == "index":
        index = build_index([build_image(FIRST)])
        target.push_manifest(THIN, "v1", index.manifest, index.media_type)
    else:
        target.push_manifest(THIN, "v1", b"{}", "application/x-something-else")
    before = target.tags_of(THIN)
    assert order(shop, orders.REMOVE).reason == "removed by hand"
    assert target.tags_of(THIN) == before


def test_a_large_layer_is_not_read_to_learn_that_it_is_not_ours(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    image = build_image([os.urandom(2 << 20)])
    target.hold_image(THIN, "v1", image)
    assert order(shop, orders.REMOVE).outcome is Outcome.REMOVED
    assert not target.seen("GET", "/blobs/")
    assert target.tags_of(THIN) == {"v1": image.digest}


def test_the_thin_image_of_what_was_live_before_is_ours(
    shop: Workshop, target: FakeRegistry
) -> None:
    first = publish(shop, FIRST)
    push(shop, SECOND)
    target.fail("PUT", "/manifests/", status=403)
    assert look(shop).outcome is Outcome.FAILED
    assert stands_for(target, first)
    assert order(shop, orders.REMOVE).outcome is Outcome.REMOVED
    assert not target.tags_of(THIN)


def test_what_nobody_may_delete_is_told_once(
    shop: Workshop, target: FakeRegistry
) -> None:
    publish(shop, FIRST)
    name_thin(shop, f"{target.host}/{ELSEWHERE}")
    target.fail("DELETE", "/manifests/", status=403)
    run = look(shop)
    assert run.outcome is Outcome.PUBLISHED
    assert f"{THIN}:v1 stays, delete it by hand: " in (run.reason or "")
    asked = len(target.seen("DELETE"))
    run = look(shop)
    assert (run.outcome, run.reason) == (Outcome.UNCHANGED, None)
    assert len(target.seen("DELETE")) == asked
