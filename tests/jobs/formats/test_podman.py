"""Jobs and podman's store: names that move, formats that change, nothing lost."""

import json
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, PublisherWithHooks, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import build_image, digest_of, tar_of
from workers.cvmfs import Snapshot
from workers.formats.paths import layer_path
from workers.ledger import Outcome
from workers.publishing.publisher import Publisher

NAME = "atlas/analysis"
LAYERS = [tar_of({"a": b"1"}), tar_of({"b": b"22"})]


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    with open_job_runner(redis_server, tmp_path) as opened:
        opened.allow(formats="[podman]")
        yield opened


def records(runner: JobRunner, path: bytes) -> list[dict[str, object]]:
    snapshot = runner.repository.read()
    dirent = snapshot.lookup(b"/podmanStore/" + path)
    assert dirent is not None
    found: list[dict[str, object]] = json.loads(snapshot.read(dirent))
    return found


def names(runner: JobRunner) -> dict[object, object]:
    """Return the names of each image, by the image's digest."""
    images = records(runner, b"overlay-images/images.json")
    return {image["digest"]: image["names"] for image in images}


def layer_ids(runner: JobRunner) -> list[object]:
    return [layer["id"] for layer in records(runner, b"overlay-layers/layers.json")]


def test_every_layer_leads_to_its_files(runner: JobRunner) -> None:
    image = runner.registry.push_image(NAME, "v1", LAYERS)
    runner.publish(f"{NAME}:v1")
    snapshot = runner.repository.read()
    layers = records(runner, b"overlay-layers/layers.json")
    for layer, blob, record in zip(image.layers, LAYERS, layers, strict=True):
        folder = f"/podmanStore/overlay/{record['id']}".encode()
        there = snapshot.resolve(folder + b"/diff")
        assert there == layer_path(digest_of(layer.blob)) + b"/layerfs"
        assert record["diff-digest"] == layer.diff_id == digest_of(blob)
        short = short_path(snapshot, folder)
        assert len(short) == 29
        assert snapshot.resolve(b"/podmanStore/overlay/" + short) == there
    assert [record["diff-size"] for record in layers] == [1, 2]
    base, top = layers
    assert "parent" not in base
    assert top["parent"] == base["id"]
    lower = read(snapshot, f"/podmanStore/overlay/{top['id']}/lower".encode())
    base_folder = f"/podmanStore/overlay/{base['id']}".encode()
    assert lower == short_path(snapshot, base_folder)


def short_path(snapshot: Snapshot, folder: bytes) -> bytes:
    """Return what podman makes of a layer's ``link``, relative to ``overlay``."""
    return posixpath.normpath(b"l/" + read(snapshot, folder + b"/link"))


def read(snapshot: Snapshot, path: bytes) -> bytes:
    dirent = snapshot.lookup(snapshot.resolve(path))
    assert dirent is not None
    assert stat.S_ISREG(dirent.mode)
    return snapshot.read(dirent)


def test_where_podman_looks_are_links_alone(runner: JobRunner) -> None:
    # In one catalog, which every commit rewrites.
    runner.registry.push_image(NAME, "v1", LAYERS)
    runner.publish(f"{NAME}:v1")
    snapshot = runner.repository.read()
    catalogs = {one.path for one in snapshot.catalogs()}
    for folder, count in (
        (b"/podmanStore/overlay", 2),
        (b"/podmanStore/overlay-images", 1),
    ):
        entries = snapshot.listdir(folder)
        links = {name for name, one in entries.items() if stat.S_ISLNK(one.mode)}
        assert len(links) == count
        for name in links:
            shard = folder + b"/" + name[:2]
            assert snapshot.resolve(folder + b"/" + name) == shard + b"/" + name
            assert shard in catalogs
            assert not any(path.startswith(shard + b"/") for path in catalogs)
    # What containers-storage takes for the folders of the layers below.
    for layer in records(runner, b"overlay-layers/layers.json"):
        folder = f"/podmanStore/overlay/{layer['id']}".encode()
        short = short_path(snapshot, folder)
        link = snapshot.lookup(b"/podmanStore/overlay/" + short)
        assert link is not None
        joined = posixpath.normpath(b"link/" + link.target)
        assert joined == f"{layer['id']}/diff".encode()


def test_sizes_are_known_of_layers_that_are_there_already(runner: JobRunner) -> None:
    runner.registry.push_image(NAME, "v1", LAYERS[:1])
    runner.publish(f"{NAME}:v1")
    runner.registry.push_image(NAME, "v2", LAYERS)
    runner.publish(f"{NAME}:v2")
    layers = records(runner, b"overlay-layers/layers.json")
    assert [record["diff-size"] for record in layers] == [1, 2]


def test_a_tag_that_moves_takes_its_name_along(runner: JobRunner) -> None:
    tag, by_digest = runner.reference(f"{NAME}:v1"), runner.reference(f"{NAME}@%s")
    old = runner.registry.push_image(NAME, "v1", LAYERS)
    runner.publish(f"{NAME}:v1")
    before = layer_ids(runner)
    assert names(runner) == {old.digest: sorted([tag, by_digest % old.digest])}
    new = runner.registry.push_image(NAME, "v1", [LAYERS[1]])
    runner.publish(f"{NAME}:v1")
    assert names(runner) == {
        old.digest: [by_digest % old.digest],
        new.digest: sorted([tag, by_digest % new.digest]),
    }
    # What runs still finds its layers; the layer that was on top has a name alone, too.
    assert layer_ids(runner)[:2] == before
    assert len(layer_ids(runner)) == 3


def test_two_tags_of_one_image_are_two_names(runner: JobRunner) -> None:
    image = runner.registry.push_image(NAME, "v1", LAYERS)
    runner.registry.push_manifest(NAME, "latest", image.manifest, image.media_type)
    runner.publish(f"{NAME}:v1")
    runner.publish(f"{NAME}:latest")
    assert len(records(runner, b"overlay-images/images.json")) == 1
    known = names(runner)[image.digest]
    assert isinstance(known, list)
    assert {runner.reference(f"{NAME}:{tag}") for tag in ("v1", "latest")} < set(known)


def test_nothing_is_published_again_without_a_change(runner: JobRunner) -> None:
    runner.registry.push_image(NAME, "v1", LAYERS)
    runner.publish(f"{NAME}:v1")
    before = runner.revision
    runner.want(f"{NAME}:v1")
    assert runner.run(f"{NAME}:v1").outcome is Outcome.UNCHANGED
    runner.publish(f"{NAME}:v1", forced=True)
    assert len(layer_ids(runner)) == 2
    assert runner.revision in {before, before + 1}  # another second, another time


def test_a_rule_that_wants_podman_now_gets_it(runner: JobRunner) -> None:
    image = runner.registry.push_image(NAME, "v1", LAYERS)
    runner.allow(formats="[flat, layers]")
    runner.publish(f"{NAME}:v1")
    assert runner.repository.read().lookup(b"/podmanStore") is None
    runner.allow(formats="[flat, podman]")
    runner.publish(f"{NAME}:v1")
    assert list(names(runner)) == [image.digest]


def test_a_rule_without_podman_leaves_no_old_image_under_the_name(
    runner: JobRunner,
) -> None:
    old = runner.registry.push_image(NAME, "v1", LAYERS)
    runner.publish(f"{NAME}:v1")
    runner.allow(formats="[flat]")
    runner.registry.push_image(NAME, "v1", LAYERS[:1])
    runner.publish(f"{NAME}:v1")
    assert names(runner) == {old.digest: [runner.reference(f"{NAME}@{old.digest}")]}


def test_the_first_platform_has_the_name(runner: JobRunner) -> None:
    images = [
        build_image(LAYERS, platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    ]
    index = runner.registry.push_index(NAME, "v1", images)
    runner.allow(formats="[podman]", platforms="[linux/arm64, linux/amd64]")
    runner.publish(f"{NAME}:v1")
    by_digest = runner.reference(f"{NAME}@%s")
    amd64, arm64 = (image.digest for image in images)
    assert names(runner) == {
        amd64: [by_digest % amd64],
        arm64: sorted(
            [
                runner.reference(f"{NAME}:v1"),
                *map(by_digest.__mod__, [arm64, index.digest]),
            ]
        ),
    }
    assert len(layer_ids(runner)) == 2


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        ("2024-02-03T06:05:06.123456789+02:00", "2024-02-03T04:05:06+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00+14:00", None),
        ("0000-01-01T00:00:00Z", None),
        (None, None),
    ],
)
def test_a_wrong_time_does_not_spoil_the_list(
    runner: JobRunner, created: object, shown: str | None
) -> None:
    runner.registry.push_image(NAME, "v1", LAYERS, config={"created": created})
    runner.publish(f"{NAME}:v1")
    (image,) = records(runner, b"overlay-images/images.json")
    assert image.get("created") == shown


def test_a_publisher_without_whiteouts_gets_no_layers(runner: JobRunner) -> None:
    def without(publisher: Publisher) -> Publisher:
        between = PublisherWithHooks(publisher)
        between.holds_whiteouts = False
        return between

    runner.replace_publisher(without)
    runner.registry.push_image(NAME, "v1", LAYERS)
    runner.want(f"{NAME}:v1")
    run = runner.run(f"{NAME}:v1")
    assert run.outcome is Outcome.REFUSED
    assert run.reason is not None
    assert "cannot hold overlay whiteouts" in run.reason
    assert "formats: [flat]" in run.reason
    runner.allow(formats="[flat]")
    runner.publish(f"{NAME}:v1")
