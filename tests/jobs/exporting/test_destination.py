"""What is taken out of a repository is the image, whoever reads it."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import Image, build_image
from tests.support.registries.distribution import tool
from workers.archives.squashfs import ProgramMissing
from workers.exporting import (
    ExportFailed,
    PublishedImage,
    export_directory,
    export_oci,
    export_squashfs,
    export_tar,
    find_image,
    specification,
)
from workers.formats.paths import flat_path
from workers.images.platforms import Platform
from workers.reference import Reference

NAME = "atlas/image:v1"


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with open_job_runner(redis_server, folder) as opened:
        yield opened


def published(runner: JobRunner, layers: list[list[bytes]]) -> Image:
    """Publish an image of these entries by a real job."""
    packed = [tars.tar(*entries) for entries in layers]
    repository, _, tag = NAME.partition(":")
    image = runner.registry.push_image(repository, tag, packed)
    runner.publish(NAME)
    return image


def found(runner: JobRunner, name: str = NAME) -> PublishedImage:
    reference = Reference.parse(runner.reference(name))
    return find_image(runner.repository.read(), reference)


def test_a_tar_is_read_by_other_tools_too(runner: JobRunner, tmp_path: Path) -> None:
    published(runner, HARD_CASES["names"])
    snapshot, image = runner.repository.read(), found(runner)
    target = tmp_path / "image.tar"
    export_tar(snapshot, image.root(snapshot), target)
    with tarfile.open(target, errors="surrogateescape") as archive:
        names = {os.fsencode(name) for name in archive.getnames()}
    assert {b"\xff\xfe\x80", b"line\nbreak\t\\", b"n" * 255, b"-rf"} <= names


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


def test_a_squashfs_is_the_same_bytes_each_time(
    runner: JobRunner, tmp_path: Path
) -> None:
    tool("mksquashfs")
    published(runner, HARD_CASES["attributes"])
    snapshot, image = runner.repository.read(), found(runner)
    for name in ("one", "two"):
        export_squashfs(snapshot, image.root(snapshot), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_image_is_found_by_its_digest(runner: JobRunner) -> None:
    image = published(runner, [[tars.file(b"a", b"1")]])
    by_digest = found(runner, f"atlas/image@{image.digest}")
    assert by_digest == found(runner)
    with pytest.raises(ExportFailed, match="not published"):
        found(runner, "atlas/image@sha256:" + "0" * 64)
    with pytest.raises(ExportFailed, match="not published"):
        found(runner, "atlas/image:other")


def test_nothing_is_overwritten_and_nothing_half_done_is_left(
    runner: JobRunner, tmp_path: Path
) -> None:
    published(runner, [[tars.file(b"a", b"content of a file")]])
    snapshot, image = runner.repository.read(), found(runner)
    root = image.root(snapshot)
    full, there = tmp_path / "full", tmp_path / "there"
    full.mkdir()
    there.write_text("mine")
    (full / "mine").write_text("mine")
    with pytest.raises(ExportFailed, match="not empty"):
        export_directory(snapshot, root, full)
    with pytest.raises(ExportFailed, match="not empty"):
        export_oci(snapshot, image, full)
    with pytest.raises(ExportFailed, match="there already"):
        export_tar(snapshot, root, there)
    for written in (full / "mine", there):
        assert written.read_text() == "mine"

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    for export in (export_tar, export_directory):
        with pytest.raises(KeyboardInterrupt):
            export(snapshot, root, tmp_path / "new", stop)
        assert sorted(tmp_path.iterdir()) == before


def test_a_missing_mksquashfs_is_named(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(runner, [[tars.file(b"a", b"1")]])
    snapshot, image = runner.repository.read(), found(runner)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="install squashfs-tools"):
        export_squashfs(snapshot, image.root(snapshot), tmp_path / "image.sqfs")


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


def test_a_shrinkwrap_specification_names_link_description_and_tree(
    runner: JobRunner,
) -> None:
    image = published(runner, [[tars.file(b"a", b"1")]])
    link = f"/{runner.reference(NAME)}".encode()
    assert list(specification(runner.repository.read(), found(runner))) == [
        link,
        b"/.metadata" + link + b"/*",
        flat_path(image.config_digest) + b"/*",
    ]


def test_each_platform_of_an_image_is_taken_out_by_its_name(runner: JobRunner) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    runner.allow(platforms="[linux/amd64, linux/arm64]")
    images = [
        build_image([tars.tar(tars.file(b"built", name.encode()))], platform=name)
        for name in platforms
    ]
    runner.registry.push_index("atlas/image", "v1", images)
    runner.publish(NAME)
    snapshot, reference = (
        runner.repository.read(),
        Reference.parse(runner.reference(NAME)),
    )
    roots = []
    for wanted in (None, *map(Platform.parse, platforms)):
        image = find_image(snapshot, reference, wanted)
        roots.append(image.root(snapshot))
    assert roots == [flat_path(image.config_digest) for image in (images[0], *images)]
    with pytest.raises(ExportFailed, match="not published here for linux/s390x"):
        find_image(snapshot, reference, Platform.parse("linux/s390x"))
    lines = list(specification(snapshot, find_image(snapshot, reference)))
    link = f"/{runner.reference(NAME)}".encode()
    assert {b"/.multiarch/amd64" + link, b"/.multiarch/arm64" + link} < set(lines)
    assert [line for line in lines if line.startswith(b"/.flat")] == [
        flat_path(image.config_digest) + b"/*" for image in images
    ]
