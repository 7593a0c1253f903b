"""``formats: [image]``: an image as one squashfs file, by a real job."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import Workshop, workshop_on
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import Image, Layer, digest_of
from tests.support.registries.distribution import tool
from workers.exporting import export_squashfs, find_image
from workers.formats.paths import flat_path, squashed_path
from workers.ledger import Outcome
from workers.reference import Reference

NAME = "atlas/image:v1"
NOISE = os.urandom(20 << 20)
LAYERS = [HARD_CASES["hard links"][0], [tars.file(b"noise", NOISE)]]


@pytest.fixture
def shop(server: RedisServer, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with workshop_on(server, folder) as opened:
        yield opened


@pytest.fixture
def image(shop: Workshop) -> Image:
    packed = [tars.tar(*entries) for entries in LAYERS]
    return shop.registry.push_image("atlas/image", "v1", packed)


def squashed(shop: Workshop, image: Image) -> bytes:
    snapshot = shop.repository.read()
    dirent = snapshot.lookup(squashed_path(image.config_digest))
    assert dirent is not None
    return snapshot.read(dirent)


def downloads(shop: Workshop, layer: Layer) -> int:
    return len(shop.registry.seen("GET", f"/blobs/{digest_of(layer.blob)}"))


def test_the_file_is_what_the_root_file_system_is(
    shop: Workshop, image: Image, tmp_path: Path
) -> None:
    tool("mksquashfs")
    shop.allow(formats="[image]")
    before = sorted(shop.services.config.state.iterdir())
    path = squashed_path(image.config_digest).decode()
    assert shop.publish(NAME).places["image"] == path
    assert shop.publish(NAME).places["image"] == path  # unchanged
    assert sorted(shop.services.config.state.iterdir()) == before
    snapshot = shop.repository.read()
    dirent = snapshot.lookup(squashed_path(image.config_digest))
    assert dirent is not None
    assert dirent.content is not None
    assert len(dirent.content.chunks) > 2
    found = find_image(snapshot, Reference.parse(shop.reference(NAME)))
    root = found.root(snapshot)
    assert root == flat_path(image.config_digest)
    export_squashfs(snapshot, root, tmp_path / "exported")
    assert (tmp_path / "exported").read_bytes() == snapshot.read(dirent)
    listed = subprocess.run(
        ["unsquashfs", "-cat", tmp_path / "exported", "noise"],
        check=True,
        capture_output=True,
    )
    assert listed.stdout == NOISE


def test_a_file_that_is_made_again_is_the_same(shop: Workshop, image: Image) -> None:
    tool("mksquashfs")
    shop.allow(formats="[flat, layers, image]")
    shop.publish(NAME)
    first = squashed(shop, image)
    shop.publish(NAME, forced=True)
    assert squashed(shop, image) == first


def test_a_rule_that_wants_the_file_later_gets_it_without_a_download(
    shop: Workshop, image: Image
) -> None:
    tool("mksquashfs")
    shop.allow(formats="[flat, layers]")
    shop.publish(NAME)
    assert shop.repository.read().lookup(squashed_path(image.config_digest)) is None
    shop.allow(formats="[flat, layers, image]")
    shop.publish(NAME)
    made = squashed(shop, image)
    for layer in image.layers:
        assert downloads(shop, layer) == 1
    shop.publish(NAME, forced=True)
    assert squashed(shop, image) == made


def test_without_the_program_a_job_says_so_before_it_downloads(
    shop: Workshop, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.allow(formats="[image]")
    shop.want(NAME)
    monkeypatch.setenv("PATH", str(tmp_path))
    run = shop.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "install squashfs-tools" in str(run.reason)
    assert shop.image(NAME).next_try is None
    assert not any(downloads(shop, layer) for layer in image.layers)
