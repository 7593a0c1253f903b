"""An image is found by its name, its digest and its platform."""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import NAME, found, published
from tests.support.images import tars
from tests.support.images.oci import build_image
from workers.exporting import (
    ExportFailed,
    find_image,
    specification,
)
from workers.formats.paths import flat_path
from workers.images.platforms import Platform
from workers.reference import Reference


def test_an_image_is_found_by_its_digest(runner: JobRunner) -> None:
    image = published(runner, [[tars.file(b"a", b"1")]])
    by_digest = found(runner, f"atlas/image@{image.digest}")
    assert by_digest == found(runner)
    with pytest.raises(ExportFailed, match="not published"):
        found(runner, "atlas/image@sha256:" + "0" * 64)
    with pytest.raises(ExportFailed, match="not published"):
        found(runner, "atlas/image:other")


def test_each_platform_of_an_image_is_taken_out_by_its_name(runner: JobRunner) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    runner.allow(platforms="[linux/amd64, linux/arm64]")
    images = [
        build_image([tars.tar(tars.file(b"built", name.encode()))], platform=name)
        for name in platforms
    ]
    runner.registry.push_index("atlas/image", "v1", images)
    runner.publish(NAME)
    snapshot, reference = (
        runner.repository.read(),
        Reference.parse(runner.reference(NAME)),
    )
    roots = []
    for wanted in (None, *map(Platform.parse, platforms)):
        image = find_image(snapshot, reference, wanted)
        roots.append(image.root(snapshot))
    assert roots == [flat_path(image.config_digest) for image in (images[0], *images)]
    with pytest.raises(ExportFailed, match="not published here for linux/s390x"):
        find_image(snapshot, reference, Platform.parse("linux/s390x"))
    lines = list(specification(snapshot, find_image(snapshot, reference)))
    link = f"/{runner.reference(NAME)}".encode()
    assert {b"/.multiarch/amd64" + link, b"/.multiarch/arm64" + link} < set(lines)
    assert [line for line in lines if line.startswith(b"/.flat")] == [
        flat_path(image.config_digest) + b"/*" for image in images
    ]
