"""An image becomes an OCI layout again, of its own layers if they are there."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from workers.exporting import ExportFailed, export_oci


def exported(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return manifest and config of the only image of an OCI layout."""
    blobs = folder / "blobs" / "sha256"
    index = json.loads((folder / "index.json").read_bytes())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    return manifest, json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())


def test_an_image_without_its_layers_becomes_one_layer(
    runner: JobRunner, tmp_path: Path
) -> None:
    runner.allow(formats="[flat]")
    published(runner, [[tars.file(b"a", b"1")], [tars.file(b"b", b"2")]])
    export_oci(runner.repository.read(), found(runner), tmp_path / "oci")
    manifest, config = exported(tmp_path / "oci")
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert "history" not in config
    blob = tmp_path / "oci/blobs/sha256" / manifest["layers"][0]["digest"][7:]
    with tarfile.open(blob) as tar:
        assert {"a", "b", ".singularity.d/runscript"} <= set(tar.getnames())


def test_neither_layers_nor_root_file_system_give_no_oci_layout(
    runner: JobRunner, tmp_path: Path
) -> None:
    runner.allow(formats="[layers]")
    published(runner, [[tars.file(b"a", b"1")], [tars.opaque(b"")]])
    with pytest.raises(ExportFailed, match="without a root file system: add `flat`"):
        export_oci(runner.repository.read(), found(runner), tmp_path / "oci")
    assert not (tmp_path / "oci").exists()


def test_the_config_of_an_oci_layout_is_the_images_own_but_for_its_layers(
    runner: JobRunner, tmp_path: Path
) -> None:
    image = published(runner, [[tars.file(b"a", b"1")], [tars.whiteout(b"a")]])
    export_oci(runner.repository.read(), found(runner), tmp_path / "oci")
    _, config = exported(tmp_path / "oci")
    own = json.loads(image.config)
    assert len(config["rootfs"]["diff_ids"]) == 2
    assert {**config, "rootfs": own["rootfs"]} == own
