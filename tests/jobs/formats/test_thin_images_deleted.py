"""Thin images that are not wanted any more, and those that come back."""

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
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
    open_thin_job_runner,
    publish,
    push,
    receipt,
    reference,
    run_order,
    run_push,
    set_thin_template,
    thin_image_is_of,
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
def runner(
    redis_server: RedisServer, tmp_path: Path, target: FakeRegistry
) -> Iterator[JobRunner]:
    with open_thin_job_runner(redis_server, tmp_path, target.host) as opened:
        yield opened


# With Distribution.


def test_a_removed_name_takes_its_thin_image_along_and_brings_it_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        distribution_registry(tmp_path / "target") as host,
        open_thin_job_runner(redis_server, tmp_path, host) as runner,
    ):
        publish(runner, FIRST)
        thin = Reference.parse(f"{host}/{THIN}:v1")
        digest = runner.services.registry.resolve(thin).digest
        run = run_order(runner, orders.REMOVE)
        assert (run.outcome, run.reason) == (Outcome.REMOVED, "removed by hand")
        with pytest.raises(ImageNotFound):
            runner.services.registry.resolve(thin)
        runner.publish(NAME)
        assert runner.services.registry.resolve(thin).digest == digest


def test_a_registry_that_deletes_nothing_keeps_no_name_in_cvmfs(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        distribution_registry(tmp_path / "target", deletes=False) as host,
        open_thin_job_runner(redis_server, tmp_path, host) as runner,
    ):
        publish(runner, FIRST)
        run = run_order(runner, orders.REMOVE)
        assert run.outcome is Outcome.REMOVED
        assert f"the thin image {host}/{THIN}:v1 stays" in (run.reason or "")
        assert "405 (UNSUPPORTED" in (run.reason or "")
        assert "enable deletes there" in (run.reason or "")
        assert "\n" not in (run.reason or "")
        assert not is_published(runner)
        assert runner.image(NAME).state is State.REMOVED
        runner.services.registry.resolve(Reference.parse(f"{host}/{THIN}:v1"))


@pytest.mark.parametrize("template", [ELSEWHERE, SAME_FOLDER])
def test_a_thin_image_with_a_new_name_loses_its_old_one(
    redis_server: RedisServer, tmp_path: Path, template: str
) -> None:
    with (
        distribution_registry(tmp_path / "target") as host,
        open_thin_job_runner(redis_server, tmp_path, host) as runner,
    ):
        publish(runner, FIRST)
        set_thin_template(runner, f"{host}/{template}")
        run = run_push(runner)
        assert (run.outcome, run.reason) == (Outcome.PUBLISHED, None)
        renamed = runner.services.config.repositories[FQRN].thin
        assert renamed is not None
        runner.services.registry.resolve(renamed.fill(reference(runner)))
        with pytest.raises(ImageNotFound):
            runner.services.registry.resolve(Reference.parse(f"{host}/{THIN}:v1"))
        revision = runner.revision
        assert run_push(runner).outcome is Outcome.UNCHANGED
        assert runner.revision == revision


# When one goes.


def test_what_is_gone_upstream_takes_its_thin_image_along(
    runner: JobRunner, target: FakeRegistry
) -> None:
    runner.allow(formats="[thin]", keep="{grace: 1d}")
    publish(runner, FIRST)
    runner.registry.delete_tag("atlas/analysis", "v1")
    run_order(runner, orders.LOOK)
    assert target.tags_of(THIN)
    key = f"cvmfs-webhook:image:{runner.reference(NAME)}"
    runner.services.front.connection.hset(key, "gone_since", str(time.time() - 172800))
    target.fail("DELETE", "/manifests/", status=503, times=1)
    for outcome in (Outcome.FAILED, Outcome.REMOVED):
        runner.wait_for_next_try(NAME)
        assert runner.run(NAME).outcome is outcome
    assert not target.tags_of(THIN)


def test_a_rule_without_thin_images_any_more_takes_them_out(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    runner.allow(formats="[layers]")
    assert run_push(runner).outcome is Outcome.PUBLISHED
    assert not target.tags_of(THIN)
    assert (receipt(runner).thin, receipt(runner).former_thin) == (None, ())
    asked, revision = len(target.seen()), runner.revision
    assert run_push(runner).outcome is Outcome.UNCHANGED
    assert (len(target.seen()), runner.revision) == (asked, revision)


def test_the_old_one_goes_after_the_new_one_is_there(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    image = push(runner, SECOND)
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    seen = []

    def note(_path: str, reply: Reply) -> Reply:
        seen.append((receipt(runner), dict(target.tags_of("elsewhere/atlas/analysis"))))
        return reply

    target.spoil("DELETE", "/manifests/sha256:", note)
    assert run_push(runner).outcome is Outcome.PUBLISHED
    ((said, tags),) = seen
    assert said.digest == image.digest
    assert str(said.thin) == f"{target.host}/elsewhere/{NAME}"
    assert list(map(str, said.former_thin)) == [f"{target.host}/{THIN}:v1"]
    assert "v1" in tags
    assert not receipt(runner).former_thin


def test_an_old_one_stays_where_a_new_one_cannot_be_pushed(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    target.fail("PUT", "/elsewhere/", status=403)
    assert run_push(runner).outcome is Outcome.FAILED
    assert "v1" in target.tags_of(THIN)
    target.mend()
    assert run_push(runner).outcome is Outcome.UNCHANGED
    assert not target.tags_of(THIN)


def test_a_moved_tag_moves_its_thin_image_and_nothing_is_deleted(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    second = publish(runner, SECOND)
    assert thin_image_is_of(target, second)
    assert not target.seen("DELETE")


def test_a_template_that_comes_back_leaves_nothing_behind(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    before = dict(target.tags_of(THIN))
    set_thin_template(runner, None)
    run = run_push(runner)
    assert run.outcome is Outcome.FAILED
    assert f"repositories.{FQRN}.thin" in (run.reason or "")
    set_thin_template(runner, f"{target.host}/{TEMPLATE}")
    assert run_push(runner).outcome is Outcome.PUBLISHED
    assert target.tags_of(THIN) == before
    assert not target.seen("DELETE")


def test_an_image_whose_thin_image_can_have_no_name_is_published_all_the_same(
    runner: JobRunner, target: FakeRegistry
) -> None:
    runner.allow(formats="[flat, thin]")
    name = "atlas/analysis:" + "v" * 128
    set_thin_template(runner, f"{target.host}/{SAME_FOLDER}")
    runner.registry.push_image("atlas/analysis", "v" * 128, FIRST)
    runner.want(name)
    run = runner.run(name)
    assert run.outcome is Outcome.FAILED
    assert "tag 'vvv" in (run.reason or "")
    assert runner.file(name, "motd") == b"first"


# Going back.


def test_a_restored_image_has_its_thin_image(
    runner: JobRunner, target: FakeRegistry
) -> None:
    first = publish(runner, FIRST)
    second = publish(runner, SECOND)
    assert run_order(runner, orders.restore(first.digest)).outcome is Outcome.PUBLISHED
    assert thin_image_is_of(target, first)
    assert run_push(runner).outcome is Outcome.UNCHANGED
    assert thin_image_is_of(target, first)
    runner.publish(NAME, forced=True)
    assert thin_image_is_of(target, second)


def test_a_restored_image_whose_thin_image_could_not_be_pushed_gets_it_later(
    runner: JobRunner, target: FakeRegistry
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    target.fail("PUT", "/manifests/", status=503)
    assert run_order(runner, orders.restore(first.digest)).outcome is Outcome.FAILED
    runner.wait_for_next_try(NAME)
    target.mend()
    assert runner.run(NAME).outcome is Outcome.UNCHANGED
    assert thin_image_is_of(target, first)
    assert runner.image(NAME).live_digest == first.digest


def test_a_push_of_what_a_restoration_replaced_completes_its_thin_image(
    runner: JobRunner, target: FakeRegistry
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    target.fail("PUT", "/manifests/", status=503)
    assert run_order(runner, orders.restore(first.digest)).outcome is Outcome.FAILED
    target.mend()
    assert run_push(runner).outcome is Outcome.UNCHANGED
    assert thin_image_is_of(target, first)


def test_a_restored_image_of_an_old_template_is_pushed_under_todays(
    runner: JobRunner, target: FakeRegistry
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    set_thin_template(runner, f"{target.host}/{SAME_FOLDER}")
    assert run_order(runner, orders.restore(first.digest)).outcome is Outcome.PUBLISHED
    assert set(target.tags_of(THIN)) == {"v1-thin"}
    assert thin_image_is_of(target, first, "v1-thin")


def test_what_stays_restored_keeps_its_thin_image_under_the_name_it_has(
    runner: JobRunner, target: FakeRegistry
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    run_order(runner, orders.restore(first.digest))
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    assert run_push(runner).outcome is Outcome.UNCHANGED
    assert thin_image_is_of(target, first)
    assert runner.image(NAME).places["thin"] == f"{target.host}/{THIN}:v1"
    run_order(runner, orders.REMOVE)
    assert not target.tags_of(THIN)
    assert not target.tags_of("elsewhere/atlas/analysis")


# What is not ours.


def thin_of(
    runner: JobRunner, *, origin: str | None = None, fqrn: str = FQRN, layers: int = 1
) -> Image:
    """Return an image like the thin one, but for what is given."""
    thin = make_thin(
        "somewhere",
        origin or f"https://{reference(runner)}",
        [("sha256:aa", f"cvmfs://{fqrn}/.layers/aa/aa/layerfs")],
        b"{}",
    )
    blob, _ = thin.blobs
    layer = Layer(blob, GZIP_LAYER_TYPE["docker"], digest_of(gzip.decompress(blob)))
    return build_image([layer] * layers, kind="docker")


def test_an_image_that_has_taken_the_name_stays(
    runner: JobRunner, target: FakeRegistry
) -> None:
    others = [
        build_image(FIRST),
        thin_of(runner, origin="https://registry.example.org/atlas/analysis:v1"),
        thin_of(runner, fqrn="another.example.org"),
        thin_of(runner, fqrn=f"{FQRN}.another"),
        thin_of(runner, layers=2),
    ]
    for other in others:
        publish(runner, FIRST)
        target.hold_image(THIN, "v1", other)
        assert run_order(runner, orders.REMOVE).reason == "removed by hand"
        assert target.tags_of(THIN) == {"v1": other.digest}
    assert not target.seen("DELETE")
    publish(runner, FIRST)
    target.hold_image(THIN, "v1", thin_of(runner))
    run_order(runner, orders.REMOVE)
    assert not target.tags_of(THIN)


@pytest.mark.parametrize("kind", ["index", "artifact"])
def test_what_is_no_image_at_all_stays(
    runner: JobRunner, target: FakeRegistry, kind: str
) -> None:
    publish(runner, FIRST)
    if kind == "index":
        index = build_index([build_image(FIRST)])
        target.push_manifest(THIN, "v1", index.manifest, index.media_type)
    else:
        target.push_manifest(THIN, "v1", b"{}", "application/x-something-else")
    before = target.tags_of(THIN)
    assert run_order(runner, orders.REMOVE).reason == "removed by hand"
    assert target.tags_of(THIN) == before


def test_a_large_layer_is_not_read_to_learn_that_it_is_not_ours(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    image = build_image([os.urandom(2 << 20)])
    target.hold_image(THIN, "v1", image)
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
    assert not target.seen("GET", "/blobs/")
    assert target.tags_of(THIN) == {"v1": image.digest}


def test_the_thin_image_of_what_was_live_before_is_ours(
    runner: JobRunner, target: FakeRegistry
) -> None:
    first = publish(runner, FIRST)
    push(runner, SECOND)
    target.fail("PUT", "/manifests/", status=403)
    assert run_push(runner).outcome is Outcome.FAILED
    assert thin_image_is_of(target, first)
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
    assert not target.tags_of(THIN)


def test_what_nobody_may_delete_is_told_once(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    target.fail("DELETE", "/manifests/", status=403)
    run = run_push(runner)
    assert run.outcome is Outcome.PUBLISHED
    assert f"{THIN}:v1 stays, delete it by hand: " in (run.reason or "")
    asked = len(target.seen("DELETE"))
    run = run_push(runner)
    assert (run.outcome, run.reason) == (Outcome.UNCHANGED, None)
    assert len(target.seen("DELETE")) == asked
