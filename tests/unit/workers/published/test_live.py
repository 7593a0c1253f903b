"""Where a live image is and how it was made, as far as the repository says it."""

import pytest

from workers.formats.receipt import Receipt
from workers.images.manifest import Descriptor, ImageManifest
from workers.ledger import LiveImage
from workers.published.live import what_is_live
from workers.reference import Reference

NAME = Reference.parse("registry.example.org/atlas/analysis:v1")
PATH = "/registry.example.org/atlas/analysis:v1"
DIGEST = f"sha256:{'ab' * 32}"
CONFIG = Descriptor("application/vnd.oci.image.config.v1+json", DIGEST, 1000)
LAYERS = tuple(
    Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", DIGEST, size)
    for size in (20, 3)
)


def test_the_size_is_that_of_the_layers_alone() -> None:
    receipt = Receipt(DIGEST, formats=("flat",))
    manifest = ImageManifest(CONFIG, LAYERS)
    assert what_is_live(NAME, receipt, manifest) == LiveImage({"flat": PATH}, 23)


def test_a_place_by_the_config_s_digest_is_known_with_the_manifest_only() -> None:
    receipt = Receipt(DIGEST, formats=("flat", "image"))
    live = what_is_live(NAME, receipt, ImageManifest(CONFIG, LAYERS))
    assert live.places["image"] == f"/.images/ab/{'ab' * 32}.sqfs"
    assert what_is_live(NAME, receipt, None) == LiveImage({"flat": PATH}, None)


@pytest.mark.parametrize("manifest", [None, ImageManifest(CONFIG, LAYERS)])
def test_the_receipt_s_notes_are_known_with_and_without_the_manifest(
    manifest: ImageManifest | None,
) -> None:
    receipt = Receipt(DIGEST, formats=("flat",), notes=("It is old.",))
    assert what_is_live(NAME, receipt, manifest).notes == ("It is old.",)


@pytest.mark.parametrize("manifest", [None, ImageManifest(CONFIG, LAYERS)])
def test_who_made_it_is_known_with_and_without_the_manifest(
    manifest: ImageManifest | None,
) -> None:
    receipt = Receipt(DIGEST, converter=7, formats=("flat",))
    assert what_is_live(NAME, receipt, manifest).converter == 7
