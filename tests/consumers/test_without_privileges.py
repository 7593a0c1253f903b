"""A worker without privileges publishes owners, devices and closed files all the same.

No unpacking tool can: umoci's own tests without root (``repack.bats``, "unpriv") leave
them out. So what is expected is what umoci unpacks as root.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import build_image, write_layout
from tests.support.images.reported_images import REPORTED_IMAGES
from tests.support.images.tree_listing import differences
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import (
    as_cvmfs_holds_it,
    umoci_unpack,
    without_our_additions,
)
from workers.ledger import State

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="umoci unpacks as root")

CASES = {**HARD_CASES, **REPORTED_IMAGES}
NAMES = [
    "types and modes",
    "attributes",
    "hard links",
    "devices that an image has are devices",
    "what nobody may read or write is kept and may be written over",
]


def unprivileged(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program that may do nothing that its user's files do not let it do."""
    dropped = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    return subprocess.run(
        [require_program("setpriv"), *dropped, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_needs_no_privilege(
    runner: JobRunner, tmp_path: Path, name: str
) -> None:
    made = unprivileged("mknod", tmp_path / "null", "c", "1", "3")
    assert made.returncode != 0, "it is privileged"
    require_program("umoci")
    image = build_image([tars.tar(*entries) for entries in CASES[name]])
    write_layout(tmp_path / "layout", "test", image)
    theirs = umoci_unpack(tmp_path / "layout", "test", tmp_path / "bundle")
    runner.registry.hold_image("atlas/case", "v1", image)
    runner.want("atlas/case:v1")

    worker = (sys.executable, "-m", "webhook.cli", "worker", "--burst")
    done = unprivileged(*worker, "--config", runner.config)

    assert done.returncode == 0, done.stderr
    assert runner.image("atlas/case:v1").state is State.LIVE, done.stderr
    ours = without_our_additions(runner.listing(image.config_digest), theirs)
    assert (
        differences(
            as_cvmfs_holds_it(theirs), as_cvmfs_holds_it(ours), names=("umoci", "ours")
        )
        == []
    )
