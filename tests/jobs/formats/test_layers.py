"""Published layers are read back; those of another tool are made again, not trusted.

DUCC uses the same paths, and loses owners, modes, times and the meaning of whiteouts.
"""

import time

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, digest_of, gzip_layer, tar_of
from workers.cvmfs import Change, PutFile
from workers.formats.paths import layer_path

LAYER = gzip_layer(tar_of({"ours": b"ours"}))
NAME = "atlas/image:v1"


@pytest.fixture
def image(runner: JobRunner) -> Image:
    repository, _, tag = NAME.partition(":")
    return runner.registry.push_image(repository, tag, [LAYER], config={"author": NAME})


def put(runner: JobRunner, *files: tuple[bytes, bytes]) -> None:
    """Commit files as another tool would."""
    repository = runner.repository
    changes: list[Change] = [
        PutFile(path, repository.sink.put_bytes(content)) for path, content in files
    ]
    repository.commit(changes, now=int(time.time()))


def test_a_layer_of_another_tool_is_made_again_though_the_image_is_ours(
    runner: JobRunner, image: Image
) -> None:
    runner.allow(formats="[flat]")
    runner.publish(NAME)
    place = layer_path(digest_of(LAYER.blob))
    put(
        runner,
        (place + b"/layerfs/theirs", b"theirs"),
        (place + b"/.metadata/origin.json", b"{}"),
    )
    runner.allow(formats="[flat, layers]")
    runner.publish(NAME)
    snapshot = runner.repository.read()
    assert snapshot.lookup(place + b"/layerfs/theirs") is None
    assert snapshot.lookup(place + b"/layerfs/ours") is not None
    assert snapshot.lookup(place + b"/.metadata/blob.json") is not None
    assert image.config_digest


def test_a_published_layer_is_read_back_for_another_image(runner: JobRunner) -> None:
    runner.allow(formats="[layers]")
    for tag in ("v1", "v2"):
        other = tar_of({tag: tag.encode()})
        runner.registry.push_image("atlas/image", tag, [LAYER, other])
        runner.publish(f"atlas/image:{tag}")
    assert len(runner.registry.seen("GET", f"/blobs/{digest_of(LAYER.blob)}")) == 1


def test_a_layer_whose_record_is_not_understood_is_fetched_again(
    runner: JobRunner, image: Image
) -> None:
    runner.allow(formats="[layers]")
    runner.publish(NAME)
    place = layer_path(digest_of(LAYER.blob))
    put(runner, (place + b"/.metadata/blob.json", b'{"version": 99}'))
    runner.registry.push_image("atlas/image", "v2", [LAYER], config={"author": "x"})
    runner.publish("atlas/image:v2")
    assert len(runner.registry.seen("GET", f"/blobs/{digest_of(LAYER.blob)}")) == 2
