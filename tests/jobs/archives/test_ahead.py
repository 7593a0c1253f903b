"""Large files are read ahead, piece by piece."""

import hashlib
import os
import tarfile
from pathlib import Path

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from workers.exporting import export_tar


def test_a_large_file_is_exported_piece_by_piece(
    runner: JobRunner, tmp_path: Path
) -> None:
    noise = os.urandom(1 << 20) * 20
    published(runner, [[tars.file(b"large", noise), tars.file(b"small", b"1")]])
    snapshot, image = runner.repository.read(), found(runner)
    export_tar(snapshot, image.root(snapshot), tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        large = archive.extractfile("large")
        assert large is not None
        assert hashlib.sha256(large.read()).digest() == hashlib.sha256(noise).digest()
