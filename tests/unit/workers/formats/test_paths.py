"""Which paths are catalogs, and which are an image's."""

import pytest

from tests.support.harness.ledger import D1
from workers.formats.paths import (
    image_path,
    is_catalog,
    reference_at,
)
from workers.reference import Reference


@pytest.mark.parametrize(
    "path",
    [
        b"/.multiarch",
        b"/.multiarch/arm:v7",
        b"/.multiarch/arm:v7/registry.hub.docker.com/atlas",
        b"/.metadata/.multiarch/arm:v7/registry.hub.docker.com/atlas",
    ],
)
def test_folders_of_architectures_are_catalogs_as_registries_are(path: bytes) -> None:
    assert is_catalog(path)


@pytest.mark.parametrize(
    "path",
    [b"/.metadata/.multiarch/arm:v7/gitlab.example/atlas/a:v1", b"/.multiarchive"],
)
def test_what_only_looks_like_one_is_no_catalog(path: bytes) -> None:
    assert not is_catalog(path)


@pytest.mark.parametrize(
    "text",
    [
        "docker.io/library/alpine:3",
        "registry.example.org/a/b/c:v1.2",
        "localhost:5000/a/b:latest",
        f"registry.example.org/a/b@{D1}",
    ],
)
def test_a_link_s_path_says_which_image_it_is(text: str) -> None:
    reference = Reference.parse(text)
    assert reference_at(image_path(reference)) == reference


@pytest.mark.parametrize(
    "path", [b"", b"/", b"/a", b"/a/b", b"/A/B:c", b"/a.b/\xff:c", b"/docker.io/a/b:c"]
)
def test_other_paths_are_no_image_s(path: bytes) -> None:
    assert reference_at(path) is None
