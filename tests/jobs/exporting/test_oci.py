"""An image becomes an OCI layout again, if its layers are there."""

import json
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from workers.exporting import ExportFailed, export_oci


def test_layers_that_are_not_published_give_no_oci_layout(
    runner: JobRunner, tmp_path: Path
) -> None:
    runner.allow(formats="[flat]")
    published(runner, [[tars.file(b"a", b"1")]])
    with pytest.raises(ExportFailed, match="--format tar"):
        export_oci(runner.repository.read(), found(runner), tmp_path / "oci")
    assert not (tmp_path / "oci").exists()


def test_the_config_of_an_oci_layout_is_the_images_own_but_for_its_layers(
    runner: JobRunner, tmp_path: Path
) -> None:
    image = published(runner, [[tars.file(b"a", b"1")], [tars.whiteout(b"a")]])
    export_oci(runner.repository.read(), found(runner), tmp_path / "oci")
    blobs = tmp_path / "oci" / "blobs" / "sha256"
    index = json.loads((tmp_path / "oci" / "index.json").read_bytes())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
    own = json.loads(image.config)
    assert len(config["rootfs"]["diff_ids"]) == 2
    assert {**config, "rootfs": own["rootfs"]} == own
