"""``formats: [image]``: an image as one squashfs file, by a real job."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import Image, Layer, digest_of
from tests.support.tools.programs import require_program
from workers.exporting import export_squashfs, find_image
from workers.formats.paths import flat_path, squashed_path
from workers.ledger import Outcome
from workers.reference import Reference

NAME = "atlas/image:v1"
NOISE = os.urandom(20 << 20)
LAYERS = [HARD_CASES["hard links"][0], [tars.file(b"noise", NOISE)]]


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with open_job_runner(redis_server, folder) as opened:
        yield opened


@pytest.fixture
def image(runner: JobRunner) -> Image:
    packed = [tars.tar(*entries) for entries in LAYERS]
    return runner.registry.push_image("atlas/image", "v1", packed)


def squashed(runner: JobRunner, image: Image) -> bytes:
    snapshot = runner.repository.read()
    dirent = snapshot.lookup(squashed_path(image.config_digest))
    assert dirent is not None
    return snapshot.read(dirent)


def downloads(runner: JobRunner, layer: Layer) -> int:
    return len(runner.registry.seen("GET", f"/blobs/{digest_of(layer.blob)}"))


def test_the_file_is_what_the_root_file_system_is(
    runner: JobRunner, image: Image, tmp_path: Path
) -> None:
    require_program("mksquashfs")
    runner.allow(formats="[image]")
    before = sorted(runner.services.config.state.iterdir())
    path = squashed_path(image.config_digest).decode()
    assert runner.publish(NAME).places["image"] == path
    assert runner.publish(NAME).places["image"] == path  # unchanged
    assert sorted(runner.services.config.state.iterdir()) == before
    snapshot = runner.repository.read()
    dirent = snapshot.lookup(squashed_path(image.config_digest))
    assert dirent is not None
    assert dirent.content is not None
    assert len(dirent.content.chunks) > 2
    found = find_image(snapshot, Reference.parse(runner.reference(NAME)))
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


def test_a_file_that_is_made_again_is_the_same(runner: JobRunner, image: Image) -> None:
    require_program("mksquashfs")
    runner.allow(formats="[flat, layers, image]")
    runner.publish(NAME)
    first = squashed(runner, image)
    runner.publish(NAME, forced=True)
    assert squashed(runner, image) == first


def test_a_rule_that_wants_the_file_later_gets_it_without_a_download(
    runner: JobRunner, image: Image
) -> None:
    require_program("mksquashfs")
    runner.allow(formats="[flat, layers]")
    runner.publish(NAME)
    assert runner.repository.read().lookup(squashed_path(image.config_digest)) is None
    runner.allow(formats="[flat, layers, image]")
    runner.publish(NAME)
    made = squashed(runner, image)
    for layer in image.layers:
        assert downloads(runner, layer) == 1
    runner.publish(NAME, forced=True)
    assert squashed(runner, image) == made


def test_without_the_program_a_job_says_so_before_it_downloads(
    runner: JobRunner, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.allow(formats="[image]")
    runner.want(NAME)
    monkeypatch.setenv("PATH", str(tmp_path))
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "install squashfs-tools" in str(run.reason)
    # The machine's fault and not the image's: it is tried again.
    assert runner.image(NAME).next_try is not None
    assert not any(downloads(runner, layer) for layer in image.layers)
