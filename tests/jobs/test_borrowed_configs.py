"""A manifest may name any config. It gets no tree that was made of other layers."""

import dataclasses
import json

import pytest

from tests.support.harness.jobs import Workshop
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


def hold(shop: Workshop, name: str, image: Image) -> None:
    repository, _, tag = name.partition(":")
    shop.registry.hold_image(repository, tag, image)


def run(shop: Workshop, name: str) -> RunRecord:
    shop.want(name)
    return shop.run(name)


@pytest.fixture(params=["[flat]", "[layers]", "[flat, layers]"], autouse=True)
def _formats(shop: Workshop, request: pytest.FixtureRequest) -> None:
    shop.allow(formats=request.param)


def test_a_borrowed_config_with_other_layers_is_refused(shop: Workshop) -> None:
    trusted = build_image([GOOD])
    hold(shop, TRUSTED, trusted)
    hold(shop, BORROWER, with_layers(trusted, gzip_layer(BAD)))
    shop.publish(TRUSTED)
    before = shop.revision

    ended = run(shop, BORROWER)

    assert ended.outcome is Outcome.FAILED
    assert "its config says" in (ended.reason or "")
    assert shop.revision == before


def test_other_layers_are_refused_though_they_are_published_already(
    shop: Workshop,
) -> None:
    """Then nothing need be fetched; all the same they are not those of the config."""
    trusted = build_image([GOOD])
    hold(shop, TRUSTED, trusted)
    hold(shop, "atlas/bad:v1", build_image([BAD]))
    hold(shop, BORROWER, with_layers(trusted, gzip_layer(BAD)))
    shop.publish(TRUSTED)
    shop.publish("atlas/bad:v1")
    ended = run(shop, BORROWER)
    assert ended.outcome is Outcome.FAILED
    assert "its config says" in (ended.reason or "")


def test_who_borrows_first_spoils_nothing_for_the_owner(shop: Workshop) -> None:
    trusted = build_image([GOOD])
    hold(shop, TRUSTED, trusted)
    hold(shop, BORROWER, with_layers(trusted, gzip_layer(BAD)))
    assert run(shop, BORROWER).outcome is Outcome.FAILED
    shop.publish(TRUSTED)
    if shop.image(TRUSTED).path is not None:
        assert shop.file(TRUSTED, "program") == b"good"


def test_the_same_layers_compressed_in_another_way_are_the_same_image(
    shop: Workshop,
) -> None:
    """The blobs are others, so they are looked at; what they hold is what it was."""
    trusted = build_image([GOOD])
    hold(shop, TRUSTED, trusted)
    hold(shop, BORROWER, with_layers(trusted, zstd_layer(GOOD)))
    shop.publish(TRUSTED)
    shop.publish(BORROWER)
    shop.publish(TRUSTED)
    if shop.image(TRUSTED).path is not None:
        assert shop.file(TRUSTED, "program") == b"good"
        assert shop.file(BORROWER, "program") == b"good"
