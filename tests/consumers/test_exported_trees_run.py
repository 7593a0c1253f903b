"""The flat tree runs, as its image's config says, from where it was taken out to."""

import os
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images import runnable_image
from workers.exporting import export_directory
from workers.formats.paths import image_path
from workers.reference import Reference

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")


def test_an_exported_tree_runs_as_its_config_says_and_through_its_scripts(
    runner: JobRunner, tmp_path: Path
) -> None:
    runnable_image.publish(runner)
    snapshot = runner.repository.read()
    link = image_path(Reference.parse(runner.reference(runnable_image.NAME)))
    root = tmp_path / "root"
    export_directory(snapshot, snapshot.resolve(link), root)
    runnable_image.run_in_every_way(root, tmp_path / "container")
