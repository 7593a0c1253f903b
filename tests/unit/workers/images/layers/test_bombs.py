"""What is made to cost a worker much costs it little: memory, and steps.

Each layer is read in a process of its own, whose peak of memory is looked at.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images import tars, zstd_by_hand
from tests.support.images.bombs import BOMBS
from tests.support.images.layer_trees import layer_of
from workers.images.layers.budget import Budget

pytestmark = pytest.mark.slow

MOST_MEMORY = 300_000_000
# Some steps more are found to be too many only when a path has been followed.
MOST_STEPS = (1 << 20) + 128 * 30_000 + 100_000


def read_in_a_process(folder: Path, *blobs: bytes) -> tuple[list[str], list[int], int]:
    """Return why layers were refused, the steps of each, and the peak of memory."""
    paths = [folder / f"{number}" for number in range(len(blobs))]
    for path, blob in zip(paths, blobs, strict=True):
        path.write_bytes(blob)
    module = "tests.support.images.reading_process"
    process = [sys.executable, "-m", module, *map(str, paths)]
    done = subprocess.run(process, check=True, capture_output=True, timeout=240)
    told = json.loads(done.stdout)
    return told["reasons"], told["steps"], told["peak"]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory_and_few_steps(name: str, tmp_path: Path) -> None:
    blob, reason = BOMBS[name]
    reasons, steps, peak = read_in_a_process(tmp_path, blob())
    assert len(reasons) == (reason is not None)
    assert all(reason in each for each in reasons if reason)
    assert peak < MOST_MEMORY
    assert max(steps) < MOST_STEPS


def test_layers_of_large_windows_are_unpacked_one_after_the_other(
    tmp_path: Path,
) -> None:
    """Three at once would take 384 MiB."""
    data = tars.tar(tars.file(b"zeros", bytes(160 << 20)))
    blob = zstd_by_hand.frame(data, 27)
    reasons, _, peak = read_in_a_process(tmp_path, blob, blob, blob)
    assert reasons == []
    assert peak < MOST_MEMORY


# Told to end, it ends: wherever it is.


class EnoughError(Exception):
    """Somebody does not want it any more."""


@pytest.mark.parametrize(
    "blob",
    [
        tars.tar(tars.pax_sparse(b"hole", 1 << 60, [], "1.0")),
        tars.tar(tars.old_gnu_sparse(b"hole", 1 << 60, [])),
        BOMBS["a chain of symlinks"][0](),
        BOMBS["tiny PAX records"][0](),
        zstd_by_hand.frame(tars.member(b"a", b"0", size=1 << 40) + bytes(1 << 27), 17),
    ],
    ids=["hole", "old hole", "symlinks", "records", "zeros"],
)
def test_reading_ends_when_it_is_told_within_one_entry(blob: bytes) -> None:
    asked: list[None] = []

    def still_wanted() -> None:
        asked.append(None)
        if len(asked) > 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        layer_of(blob, budget=Budget(1 << 61, 1_000_000, still_wanted))
