"""Of several images for one platform the one is taken that is known already."""

import json

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.steering import NAME
from tests.support.images.oci import (
    INDEX_TYPE,
    Image,
    build_image,
    descriptor,
    tar_of,
)

FIRST, SECOND, THIRD = (
    build_image([tar_of({"motd": text})]) for text in (b"first", b"second", b"third")
)


def push_index(runner: JobRunner, *images: Image, note: str = "") -> None:
    """Push an index of images that are all for the same platform."""
    platform = {"os": "linux", "architecture": "amd64"}
    for image in images:
        runner.registry.hold_image("atlas/analysis", None, image)
    document = {
        "schemaVersion": 2,
        "annotations": {"note": note},
        "manifests": [
            descriptor(image.manifest, image.media_type, platform=platform)
            for image in images
        ],
    }
    raw, kind = json.dumps(document).encode(), INDEX_TYPE["oci"]
    runner.registry.push_manifest("atlas/analysis", "v1", raw, kind)


@pytest.mark.parametrize("formats", ["[layers]", "[flat]"])
def test_what_is_published_elsewhere_is_taken_before_what_is_not(
    runner: JobRunner, formats: str
) -> None:
    runner.registry.hold_image("atlas/other", "v1", SECOND)
    runner.allow(formats=formats)
    runner.publish("atlas/other:v1")
    push_index(runner, FIRST, SECOND)
    runner.allow(formats="[flat]")
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"second"


def test_what_nobody_knows_is_taken_in_the_order_of_the_index(
    runner: JobRunner,
) -> None:
    push_index(runner, THIRD, SECOND)
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"third"


def test_a_choice_that_is_live_stays(runner: JobRunner) -> None:
    push_index(runner, SECOND, FIRST)
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"second"
    runner.registry.hold_image("atlas/other", "v1", FIRST)
    runner.publish("atlas/other:v1")  # from here on both are known
    push_index(runner, FIRST, SECOND, note="of another digest")
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"second"
    runner.publish(NAME, forced=True)
    assert runner.file(NAME, "motd") == b"second"


def test_of_several_platforms_each_keeps_its_own(runner: JobRunner) -> None:
    runner.allow(platforms="[linux/arm64, linux/amd64]")
    push_index(runner, SECOND, FIRST)
    runner.publish(NAME)
    push_index(runner, FIRST, SECOND)
    runner.publish(NAME)
    runner.allow(platforms="[linux/amd64]")
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"second"
