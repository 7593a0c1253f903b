"""Which folders are catalogs; contracts/test_format.py asks for each shelf."""

import pytest

from workers.formats.catalogs import is_catalog


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


def test_folders_of_podman_s_store_are_catalogs_and_what_lies_in_them_is_not() -> None:
    assert is_catalog(b"/podmanStore/overlay/0f")
    assert not is_catalog(b"/podmanStore/overlay/0f/0f12")
