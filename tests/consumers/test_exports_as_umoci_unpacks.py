"""Whatever form an image is exported in, it is what umoci unpacks."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import Image, build_image, write_layout
from tests.support.images.tree_listing import Listing, differences, list_directory
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import umoci_unpack, without_our_additions
from workers.exporting import (
    PublishedImage,
    export_directory,
    export_oci,
    export_squashfs,
    export_tar,
    find_image,
)
from workers.reference import Reference

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="owners and devices need root"
)
NAME = "atlas/image:v1"
_MOST = 255  # bytes of an extended attribute that a catalog holds


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


def expected_of(layers: list[list[bytes]], folder: Path) -> Listing:
    """Return what umoci unpacks, as far as a catalog can hold it."""
    image = build_image([tars.tar(*entries) for entries in layers])
    write_layout(folder / "layout", "test", image)
    return as_published(umoci_unpack(folder / "layout", "test", folder / "bundle"))


def as_published(listing: Listing) -> Listing:
    """Leave out of a listing what the README says is lost."""
    kept: Listing = {}
    names: dict[tuple[bytes, bytes], list[bytes]] = {}
    for path, entry in listing.items():
        xattrs = tuple(
            pair
            for pair in entry.xattrs
            if len(pair[0]) <= _MOST and len(pair[1]) <= _MOST
        )
        kept[path] = dataclasses.replace(entry, xattrs=xattrs, linked=b"")
        if entry.linked:
            names.setdefault((entry.linked, path.rpartition(b"/")[0]), []).append(path)
    for paths in names.values():
        if len(paths) > 1:
            for path in paths:
                kept[path] = dataclasses.replace(kept[path], linked=min(paths))
    return kept


def as_squashed(listing: Listing) -> Listing:
    """Leave out what squashfs cannot hold, too."""
    kept = {}
    for path, entry in listing.items():
        seconds = min(max(entry.mtime // 10**9, 0), 2**32 - 1)
        kept[path] = dataclasses.replace(entry, mtime=seconds * 10**9)
    root = kept.pop(b"")
    owners = {number for entry in kept.values() for number in (entry.uid, entry.gid)}
    if not {root.uid, root.gid} <= owners:
        root = dataclasses.replace(root, uid=0, gid=0)
    return {b"": root, **kept}


def untarred(file: Path, folder: Path) -> Listing:
    folder.mkdir()
    subprocess.run(
        [
            *("tar", "--extract", "--file", file, "--directory", folder),
            *("--same-owner", "--same-permissions", "--numeric-owner"),
            *("--xattrs", "--xattrs-include=*", "--delay-directory-restore"),
        ],
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return list_directory(folder)


@needs_root
@pytest.mark.parametrize("name", HARD_CASES)
def test_every_form_of_an_image_is_as_umoci_unpacks_it(
    runner: JobRunner, tmp_path: Path, name: str
) -> None:
    for program in ("umoci", "mksquashfs", "unsquashfs"):
        require_program(program)
    published(runner, HARD_CASES[name])
    expected = expected_of(HARD_CASES[name], tmp_path / "umoci")
    snapshot, image = runner.repository.read(), found(runner)
    root = image.root(snapshot)

    export_directory(snapshot, root, tmp_path / "dir")
    actual = without_our_additions(list_directory(tmp_path / "dir"), expected)
    assert differences(expected, actual) == []

    export_tar(snapshot, root, tmp_path / "image.tar")
    listing = untarred(tmp_path / "image.tar", tmp_path / "untarred")
    assert differences(expected, without_our_additions(listing, expected)) == []

    export_squashfs(snapshot, root, tmp_path / "image.sqfs")
    folder = tmp_path / "unsquashed"
    subprocess.run(
        ["unsquashfs", "-no-progress", "-dest", folder, tmp_path / "image.sqfs"],
        check=True,
        capture_output=True,
    )
    listing = without_our_additions(list_directory(folder), expected)
    assert differences(as_squashed(expected), listing) == []

    export_oci(snapshot, image, tmp_path / "oci")
    listing = umoci_unpack(tmp_path / "oci", "v1", tmp_path / "bundle")
    listing = without_our_additions(listing, expected)
    assert differences(expected, listing, ignore=["linked"]) == []
