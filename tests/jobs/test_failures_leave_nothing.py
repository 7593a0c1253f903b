"""An image that fails half-way leaves nothing behind."""

import gzip
import os
import time

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
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


def collected(runner: JobRunner) -> set[str]:
    """Delete all that nobody needs; return the names of all objects that are left."""
    storage = runner.repository.storage
    assert isinstance(storage, CollectableStorage)
    later = int(time.time()) + 3600
    collect_garbage(
        FQRN,
        storage,
        runner.repository.keys,
        now=later,
        stored_now=later,
        retention=Retention(1, 0, 0),
        dry_run=False,
        tell=lambda _: None,
        rest=lambda: None,
    )
    return objects(runner)


def objects(runner: JobRunner) -> set[str]:
    """Return the names of all objects, and of what is on its way to be one."""
    folder = runner.config.parent / "cvmfs" / "data"
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def fail(runner: JobRunner, damage: str) -> None:
    """Push an image whose second layer is damaged."""
    layer = Layer(DAMAGED[damage], GZIP_LAYER_TYPE["oci"], digest_of(_TAR))
    runner.registry.push_image("atlas/analysis", "v1", [BASE, layer])
    runner.want(NAME)
    ended = runner.run(NAME)
    assert ended.outcome is Outcome.FAILED
    assert "layer 2" in (ended.reason or "")
    assert runner.image(NAME).state is State.FAILED


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_layer_that_is_cut_short_or_corrupt_leaves_nothing_behind(
    runner: JobRunner, damage: str
) -> None:
    runner.registry.push_image("atlas/analysis", "before", [BASE])
    runner.publish("atlas/analysis:before")
    before, revision = collected(runner), runner.revision

    fail(runner, damage)

    assert runner.revision == revision
    assert runner.file(NAME, "base") is None
    assert objects(runner) == before


def test_an_image_that_a_rule_turns_away_at_last_leaves_nothing_behind(
    runner: JobRunner,
) -> None:
    before = objects(runner)
    runner.allow(limits="{files: 9}")
    runner.registry.push_image("atlas/analysis", "v1", [BASE, gzip_layer(_TAR)])
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert objects(runner) == before


@pytest.mark.parametrize("damage", DAMAGED)
def test_an_image_that_is_mended_goes_live_whatever_its_failure_left(
    runner: JobRunner, damage: str
) -> None:
    fail(runner, damage)
    runner.registry.push_image("atlas/analysis", "v1", [BASE, gzip_layer(_TAR)])
    runner.publish(NAME)
    assert runner.file(NAME, "base") == b"base"
    assert digest_of(runner.file(NAME, "19") or b"") == digest_of(FILES["19"])
