"""What is published of an image reads back as umoci unpacks it, entry for entry.

By a real job, from the written catalogs; once fetched, and once more put together from
the layers that were published.
"""

import os
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.layer_trees import LayerStack
from tests.support.images.oci import (
    build_image,
    gzip_layer,
    gzip_members_layer,
    plain_layer,
    tar_of,
    write_layout,
)
from tests.support.images.reported_images import REPORTED_IMAGES
from tests.support.images.tree_listing import differences
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import (
    as_cvmfs_holds_it,
    umoci_unpack,
    without_our_additions,
)
from workers.ledger import Outcome

CASES = {**HARD_CASES, **REPORTED_IMAGES}


@pytest.fixture(autouse=True)
def _umoci() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make devices and foreign owners")
    require_program("umoci")


@pytest.mark.parametrize("name", CASES)
def test_what_is_published_is_what_umoci_unpacks(
    runner: JobRunner, tmp_path: Path, name: str
) -> None:
    layers = [tars.tar(*entries) for entries in CASES[name]]
    write_layout(tmp_path / "layout", "test", build_image(layers))
    theirs = umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    for tag in ("fetched", "composed"):
        config = {"author": tag}
        image = runner.registry.push_image("atlas/case", tag, layers, config=config)
        runner.want(f"atlas/case:{tag}")
        run = runner.run(f"atlas/case:{tag}")
        assert run.outcome is Outcome.PUBLISHED, run.reason
        ours = without_our_additions(runner.listing(image.config_digest), theirs)
        assert (
            differences(
                as_cvmfs_holds_it(theirs),
                as_cvmfs_holds_it(ours),
                names=("umoci", "ours"),
            )
            == []
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="umoci unpacks as root")
def test_umoci_unpacks_a_mix_of_compressions_to_what_is_published(
    runner: JobRunner, tmp_path: Path
) -> None:
    """It does not know zstd in its older versions, so that is left out here."""
    require_program("umoci")
    one, two, three = (tar_of({f"file-{n}": b"%d" % n * 999}) for n in range(3))
    layers = [gzip_layer(one), plain_layer(two), gzip_members_layer(three)]
    image = build_image(layers)
    write_layout(tmp_path / "layout", "test", image)
    theirs = umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    runner.registry.hold_image("atlas/mixed", "v1", image)
    runner.publish("atlas/mixed:v1")
    ours = without_our_additions(runner.listing(image.config_digest), theirs)
    # No member names the root, and umoci gives it the time of unpacking.
    assert differences(theirs, ours, ignore=["mtime"]) == []


BARE = tars.character_device(b"d/name", 0, 0, mode=0, mtime=0)
DRESSED = tars.character_device(b"d/name", 0, 0, mode=0o600, uid=1, mtime=7)
BELOW = [
    tars.directory(b"./", mtime=1),
    tars.directory(b"d", mtime=1),
    tars.file(b"d/name", b"1", mtime=1),
]
UPPERS = {
    "alone": [BARE],
    "dressed": [DRESSED],
    "dressed beside its whiteout": [tars.whiteout(b"d/name"), DRESSED],
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
@pytest.mark.parametrize("upper", UPPERS)
def test_the_flat_tree_has_the_device_as_umoci_makes_it(
    upper: str, tmp_path: Path
) -> None:
    require_program("umoci")
    layers = [BELOW, [tars.directory(b"d", mtime=1), *UPPERS[upper]]]
    image = build_image([tars.tar(*entries) for entries in layers])
    write_layout(tmp_path / "layout", "test", image)
    theirs = umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    assert differences(theirs, LayerStack(*layers).listing) == []
