"""A manifest may name any config. It gets no tree that was made of other layers."""

import dataclasses
import json

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import (
    Image,
    Layer,
    build_image,
    descriptor,
    gzip_layer,
    tar_of,
    zstd_layer,
)
from workers.ledger import Outcome, RunRecord

TRUSTED, BORROWER = "atlas/trusted:v1", "atlas/borrower:v1"
GOOD, BAD = tar_of({"program": b"good"}), tar_of({"program": b"bad"})


def with_layers(image: Image, *layers: Layer) -> Image:
    """Return an image of the same config and other layers."""
    document = json.loads(image.manifest)
    document["layers"] = [descriptor(layer.blob, layer.media_type) for layer in layers]
    raw = json.dumps(document).encode()
    return dataclasses.replace(image, manifest=raw, layers=layers)


def hold(runner: JobRunner, name: str, image: Image) -> None:
    repository, _, tag = name.partition(":")
    runner.registry.hold_image(repository, tag, image)


def run(runner: JobRunner, name: str) -> RunRecord:
    runner.want(name)
    return runner.run(name)


@pytest.fixture(params=["[flat]", "[layers]", "[flat, layers]"], autouse=True)
def _formats(runner: JobRunner, request: pytest.FixtureRequest) -> None:
    runner.allow(formats=request.param)


def test_a_borrowed_config_with_other_layers_is_refused(runner: JobRunner) -> None:
    trusted = build_image([GOOD])
    hold(runner, TRUSTED, trusted)
    hold(runner, BORROWER, with_layers(trusted, gzip_layer(BAD)))
    runner.publish(TRUSTED)
    before = runner.revision

    ended = run(runner, BORROWER)

    assert ended.outcome is Outcome.FAILED
    assert "its config says" in (ended.reason or "")
    assert runner.revision == before


def test_other_layers_are_refused_though_they_are_published_already(
    runner: JobRunner,
) -> None:
    """Then nothing need be fetched; all the same they are not those of the config."""
    trusted = build_image([GOOD])
    hold(runner, TRUSTED, trusted)
    hold(runner, "atlas/bad:v1", build_image([BAD]))
    hold(runner, BORROWER, with_layers(trusted, gzip_layer(BAD)))
    runner.publish(TRUSTED)
    runner.publish("atlas/bad:v1")
    ended = run(runner, BORROWER)
    assert ended.outcome is Outcome.FAILED
    assert "its config says" in (ended.reason or "")


def test_who_borrows_first_spoils_nothing_for_the_owner(runner: JobRunner) -> None:
    trusted = build_image([GOOD])
    hold(runner, TRUSTED, trusted)
    hold(runner, BORROWER, with_layers(trusted, gzip_layer(BAD)))
    assert run(runner, BORROWER).outcome is Outcome.FAILED
    runner.publish(TRUSTED)
    if "flat" in runner.image(TRUSTED).places:
        assert runner.file(TRUSTED, "program") == b"good"


def test_the_same_layers_compressed_in_another_way_are_the_same_image(
    runner: JobRunner,
) -> None:
    """The blobs are others, so they are looked at; what they hold is what it was."""
    trusted = build_image([GOOD])
    hold(runner, TRUSTED, trusted)
    hold(runner, BORROWER, with_layers(trusted, zstd_layer(GOOD)))
    runner.publish(TRUSTED)
    runner.publish(BORROWER)
    runner.publish(TRUSTED)
    if "flat" in runner.image(TRUSTED).places:
        assert runner.file(TRUSTED, "program") == b"good"
        assert runner.file(BORROWER, "program") == b"good"
