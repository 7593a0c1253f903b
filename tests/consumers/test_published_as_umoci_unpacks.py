"""What is published of an image reads back as umoci unpacks it, entry for entry.

By a real job, from the written catalogs; once fetched, and once more put together from
the layers that were published.
"""

import os
from pathlib import Path

import pytest

from tests.support.harness.jobs import Workshop
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import build_image, write_layout
from tests.support.images.reported_images import REPORTED_IMAGES
from tests.support.images.tree_listing import differences
from tests.support.registries.distribution import tool
from tests.support.tools.umoci import held, unpacked, without_additions
from workers.ledger import Outcome

CASES = {**HARD_CASES, **REPORTED_IMAGES}


@pytest.fixture(autouse=True)
def _umoci() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make devices and foreign owners")
    tool("umoci")


@pytest.mark.parametrize("name", CASES)
def test_what_is_published_is_what_umoci_unpacks(
    shop: Workshop, tmp_path: Path, name: str
) -> None:
    layers = [tars.tar(*entries) for entries in CASES[name]]
    write_layout(tmp_path / "layout", "test", build_image(layers))
    theirs = unpacked(tmp_path / "layout", "test", tmp_path / "bundle")
    for tag in ("fetched", "composed"):
        config = {"author": tag}
        image = shop.registry.push_image("atlas/case", tag, layers, config=config)
        shop.want(f"atlas/case:{tag}")
        run = shop.run(f"atlas/case:{tag}")
        assert run.outcome is Outcome.PUBLISHED, run.reason
        ours = without_additions(shop.listing(image.config_digest), theirs)
        assert differences(held(theirs), held(ours), names=("umoci", "ours")) == []
