"""Platforms have one name each, and an image is chosen by it."""

import pytest

from tests.support.images.oci import MANIFEST_TYPE, Kind, build_image, build_index
from workers.images.manifest import Descriptor, choose_platform, parse_config
from workers.images.platforms import Platform, check_platform
from workers.images.rejected import ImageRejected

LINUX = Platform.parse("linux/amd64")
KINDS = pytest.mark.parametrize("kind", ["oci", "docker"])


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("linux/ppc64le", "linux/ppc64le"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_have_one_name_whatever_a_tool_calls_them(
    text: str, normal: str
) -> None:
    assert str(Platform.parse(text)) == normal
    assert Platform.parse(text) == Platform.parse(normal)


@KINDS
def test_the_image_of_the_platform_is_chosen_from_an_index(kind: Kind) -> None:
    names = ["linux/arm64/v8", "linux/amd64", "linux/arm/v6", "linux/amd64/v3"]
    images = [build_image([name.encode()], kind=kind, platform=name) for name in names]
    index = build_index(images, kind=kind)
    for name, image in zip(names, images, strict=True):
        assert choose_platform(index.manifest, Platform.parse(name)) == Descriptor(
            MANIFEST_TYPE[kind], image.digest, len(image.manifest)
        )
    chosen = choose_platform(index.manifest, Platform.parse("linux/arm64"))
    assert chosen.digest == images[0].digest


def test_an_index_without_the_platform_is_refused_with_those_it_has() -> None:
    images = [
        build_image([b"x"], platform=name) for name in ("linux/s390x", "linux/arm/v7")
    ]
    with pytest.raises(ImageRejected) as caught:
        choose_platform(build_index(images).manifest, LINUX)
    assert str(caught.value) == (
        "the image has no platform linux/amd64; it has linux/arm/v7, linux/s390x: "
        "build it for linux/amd64"
    )


def test_the_config_has_to_be_for_the_platform_too() -> None:
    config = parse_config(build_image([b"x"], platform="linux/arm64/v8").config, 1)
    check_platform(config.platform, Platform.parse("linux/aarch64"))
    with pytest.raises(ImageRejected, match="is for linux/arm64, not for linux/amd64"):
        check_platform(config.platform, LINUX)
