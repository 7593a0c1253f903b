"""An image that fails half-way leaves nothing but garbage, and that is collected."""

import gzip
import os
import time

import pytest

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Layer,
    digest_of,
    gzip_layer,
    tar_of,
)
from workers.cvmfs import CollectableStorage, Retention, collect_garbage
from workers.ledger import Outcome, State

NAME = "atlas/analysis:v1"
BASE = gzip_layer(tar_of({"base": b"base"}))
FILES = {f"{n}": os.urandom(500_000) for n in range(20)}
_TAR = tar_of(FILES)
_BLOB = gzip.compress(_TAR, 1, mtime=0)
DAMAGED = {
    "cut short": _BLOB[: len(_BLOB) * 3 // 4],
    "corrupt": _BLOB[:-9] + bytes([_BLOB[-9] ^ 0xFF]) + _BLOB[-8:],
    "an archive that is cut short": gzip.compress(_TAR[: len(_TAR) * 3 // 4], 1),
}


def collected(shop: Workshop) -> set[str]:
    """Delete all that nobody needs; return the names of all objects that are left."""
    storage = shop.repository.storage
    assert isinstance(storage, CollectableStorage)
    later = int(time.time()) + 3600
    collect_garbage(
        FQRN,
        storage,
        shop.repository.keys,
        now=later,
        stored_now=later,
        retention=Retention(1, 0, 0),
        dry_run=False,
        tell=lambda _: None,
        rest=lambda: None,
    )
    return objects(shop)


def objects(shop: Workshop) -> set[str]:
    """Return the names of all objects, and of what is on its way to be one."""
    folder = shop.config.parent / "cvmfs" / "data"
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def fail(shop: Workshop, damage: str) -> None:
    """Push an image whose second layer is damaged."""
    layer = Layer(DAMAGED[damage], GZIP_LAYER_TYPE["oci"], digest_of(_TAR))
    shop.registry.push_image("atlas/analysis", "v1", [BASE, layer])
    shop.want(NAME)
    ended = shop.run(NAME)
    assert ended.outcome is Outcome.FAILED
    assert "layer 2" in (ended.reason or "")
    assert shop.image(NAME).state is State.FAILED


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_layer_that_is_cut_short_or_corrupt_leaves_nothing_behind(
    shop: Workshop, damage: str
) -> None:
    shop.registry.push_image("atlas/analysis", "before", [BASE])
    shop.publish("atlas/analysis:before")
    before, revision = collected(shop), shop.revision

    fail(shop, damage)

    assert shop.revision == revision
    assert shop.file(NAME, "base") is None
    assert objects(shop) > before  # what came before the damage was stored already
    assert collected(shop) == before


@pytest.mark.parametrize("damage", DAMAGED)
def test_an_image_that_is_mended_goes_live_whatever_its_failure_left(
    shop: Workshop, damage: str
) -> None:
    fail(shop, damage)
    shop.registry.push_image("atlas/analysis", "v1", [BASE, gzip_layer(_TAR)])
    shop.publish(NAME)
    assert shop.file(NAME, "base") == b"base"
    assert digest_of(shop.file(NAME, "19") or b"") == digest_of(FILES["19"])
