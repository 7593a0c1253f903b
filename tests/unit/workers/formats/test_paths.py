"""Which paths are an image's."""

import pytest

from tests.support.harness.ledger import D1
from workers.formats.paths import (
    image_path,
    reference_at,
)
from workers.reference import Reference


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
