"""Platforms have one name each, and an image is chosen by it."""

import pytest

from workers.images.platforms import (
    ANY_PLATFORM,
    Platform,
    best,
    check_platform,
    difference,
    no_platform,
)
from workers.images.rejected import ImageRejected

LINUX = Platform.parse("linux/amd64")
AMD64_ALONE = Platform("", "amd64")


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


def offers(*names: str) -> list[tuple[Platform, int]]:
    return [(Platform.parse(name), number) for number, name in enumerate(names)]


def test_the_best_for_the_platform_is_chosen() -> None:
    offered = offers("linux/arm64/v8", "linux/amd64", "linux/arm/v6", "linux/amd64/v3")
    for platform, number in offered:
        assert best(offered, platform) == [number]
    assert best(offered, Platform.parse("linux/arm64")) == [0]
    assert best(offered, Platform.parse("linux/amd64/v4")) == [3]
    assert best(offered, Platform.parse("linux/arm/v7")) == [2]
    assert best(offered, Platform.parse("linux/s390x")) == []


def test_all_for_the_same_platform_are_offered() -> None:
    offered = offers("linux/amd64", "linux/arm64", "Linux/x86_64", "linux/amd64/v2")
    assert best(offered, LINUX) == [0, 2]


@pytest.mark.parametrize("said", [ANY_PLATFORM, Platform("linux", ""), AMD64_ALONE])
def test_the_only_one_that_does_not_say_for_what_is_taken(said: Platform) -> None:
    other = (Platform.parse("linux/s390x"), 0)
    assert best([other, (said, 1)], LINUX) == [1]
    assert best([(said, 1), (LINUX, 2)], LINUX) == [2]
    assert best([(said, 1), (ANY_PLATFORM, 2)], LINUX) == []
    assert best([(Platform("windows", ""), 1), (ANY_PLATFORM, 2)], LINUX) == [2]


def test_the_error_names_the_platforms_that_there_are() -> None:
    there = [Platform.parse(name) for name in ("linux/s390x", "linux/arm/v7")]
    assert str(no_platform(there, LINUX)) == (
        "the image has no platform linux/amd64; it has linux/arm/v7, linux/s390x: "
        "build it for linux/amd64"
    )


def test_what_is_called_a_platform_cannot_disturb_a_page() -> None:
    error = str(no_platform([Platform("\n\ud800\x1b", "<b>" * 9999)], LINUX))
    assert error.isprintable()
    assert len(error) < 400


@pytest.mark.parametrize(
    "said", ["linux/amd64", "linux/amd64/v3", "linux/", "/amd64", "/", "Linux/x86-64"]
)
def test_a_config_has_to_be_for_the_platform_as_far_as_it_says(said: str) -> None:
    check_platform(Platform.parse(said), LINUX)


@pytest.mark.parametrize(
    "said", ["linux/arm64/v8", "windows/amd64", "windows/", "/arm"]
)
def test_a_config_for_another_platform_is_refused(said: str) -> None:
    with pytest.raises(ImageRejected, match=r"is for .*, not for linux/amd64"):
        check_platform(Platform.parse(said), LINUX)


@pytest.mark.parametrize(
    ("built_for", "published_for", "said"),
    [
        ("linux/arm64", "linux/amd64", "its config linux/arm64: the index's word"),
        ("windows/amd64", "linux/amd64", "its config windows/amd64: the index's"),
        ("linux/amd64/v2", "linux/amd64", "its config says linux/amd64/v2: not every"),
        ("linux/arm/v7", "linux/arm/v6", None),  # may be said of any arm
        ("linux/arm/v8", "linux/arm/v7", "its config says linux/arm/v8: not every"),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/amd64", "linux/amd64", None),
        ("linux/arm64/v8", "linux/arm64", None),
        ("linux/", "linux/arm64", None),
        ("/", "linux/arm64", None),
    ],
)
def test_a_config_that_differs_is_told(
    built_for: str, published_for: str, said: str | None
) -> None:
    found = difference(Platform.parse(built_for), Platform.parse(published_for))
    assert found == said or (said is not None and said in str(found))


def test_what_a_config_says_cannot_disturb_a_page() -> None:
    found = difference(Platform("\n\ud800", "<b>" * 9999), LINUX)
    assert found is not None
    assert found.isprintable()
    assert len(found) < 400


def test_what_is_not_said_is_filled_in() -> None:
    arm = Platform.parse("linux/arm/v6")
    assert ANY_PLATFORM.filled(arm) == arm
    assert AMD64_ALONE.filled(arm) == LINUX
    assert Platform("windows", "").filled(arm) == Platform("windows", "arm", "v6")
    assert LINUX.filled(arm) == LINUX
