"""What is taken out of a repository is the image, whoever reads it."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images import tars
from tests.support.images.hard_cases import HARD_CASES
from tests.support.images.oci import build_image, write_layout
from tests.support.images.tree_listing import Listing, differences, list_directory
from tests.support.tools.programs import require_program
from tests.support.tools.umoci import umoci_unpack, without_our_additions
from workers.exporting import (
    ExportFailed,
    export_directory,
    export_oci,
    export_squashfs,
    export_tar,
)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="owners and devices need root"
)
_MOST = 255  # bytes of an extended attribute that a catalog holds


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
    assert differences(expected, listing, ignore=["linked"]) == []


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
