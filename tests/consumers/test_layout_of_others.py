"""What those read who cannot be had here, file by file as cvmfs-format.md 11 has it.

Docker's graph driver: ``tests/jobs/formats/test_thin.py``.
"""

import base64
import hashlib
import json
import re
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.oci import Image, Layer, gzip_layer, plain_layer, zstd_layer
from tests.support.tools.programs import require_program
from workers.cvmfs import Dirent, Snapshot

NAME = "atlas/image:v1"
BASE = tars.tar(tars.directory(b"d"), tars.file(b"d/gone", b"1"), tars.file(b"f", b"2"))
TOP = tars.tar(
    tars.directory(b"d"),
    tars.opaque(b"d"),
    tars.whiteout(b"f"),
    tars.file(b"new", b"3"),
)


def publish(runner: JobRunner, *layers: bytes | Layer) -> Image:
    image = runner.registry.push_image("atlas/image", "v1", layers)
    runner.publish(NAME)
    return image


def files(snapshot: Snapshot, top: bytes) -> dict[str, str]:
    """Return what is at each path of a directory, but for the markers of catalogs."""
    return {
        path.removeprefix(top).decode(): said(snapshot, dirent)
        for path, dirent in snapshot.walk(top)
        if not path.endswith(b"/.cvmfscatalog")
    }


def said(snapshot: Snapshot, dirent: Dirent) -> str:
    kind = stat.S_IFMT(dirent.mode)
    if kind == stat.S_IFREG:
        return f"file {snapshot.read(dirent).decode()}"
    if kind == stat.S_IFLNK:
        return f"-> {dirent.target.decode()}"
    return "directory" if kind == stat.S_IFDIR else f"{kind:o} {dirent.device}"


# containerd: snapshotter/cvmfs/cvmfs.go, ``Mount``.


def mounted(label: str) -> bytes:
    """Return the directory that is mounted for ``cri.layer-digest``."""
    digest = label.split(":")[1]
    return f"/.layers/{digest[:2]}/{digest}/layerfs".encode()


@pytest.mark.parametrize("pack", [gzip_layer, plain_layer, zstd_layer])
def test_layers_lie_where_the_snapshotter_of_containerd_looks(
    runner: JobRunner, pack: Callable[[bytes], Layer]
) -> None:
    image = publish(runner, pack(BASE), pack(TOP))
    # The label's value is the digest as the image's manifest has it.
    base, top = (layer["digest"] for layer in json.loads(image.manifest)["layers"])
    snapshot = runner.repository.read()
    assert files(snapshot, mounted(base)) == {
        "": "directory",
        "/d": "directory",
        "/d/gone": "file 1",
        "/f": "file 2",
    }
    assert files(snapshot, mounted(top)) == {
        "": "directory",
        "/d": "directory",
        "/f": "20000 0",  # a character device
        "/new": "file 3",
    }
    opaque = snapshot.lookup(mounted(top) + b"/d")
    assert opaque is not None
    assert (b"trusted.overlay.opaque", b"y") in opaque.xattrs
    beside = files(snapshot, mounted(top).removesuffix(b"/layerfs"))
    ours = {path for path in beside if not path.startswith("/layerfs")}
    assert ours == {"", "/.metadata", "/.metadata/blob.json"}


# CRI-O: what podman reads, see ``test_podman.py``, and nothing else.


def test_the_image_store_has_the_files_of_one_and_no_others(runner: JobRunner) -> None:
    runner.allow(formats="[podman]")
    image = publish(runner, BASE, TOP)
    found = files(runner.repository.read(), b"/podmanStore")
    layers = json.loads(found.pop("/overlay-layers/layers.json").removeprefix("file "))
    images = json.loads(found.pop("/overlay-images/images.json").removeprefix("file "))
    base, top = (layer["id"] for layer in layers)
    config = image.config_digest.removeprefix("sha256:")
    # Where podman looks there are links, to folders in shards.
    links = [found[f"/overlay/{id_[:2]}/{id_}/link"] for id_ in (base, top)]
    links = [link.removeprefix("file ../") for link in links]
    assert all(re.fullmatch("[0-9a-f]{2}/[A-Z2-7]{26}", link) for link in links)
    at = [f"../../../..{mounted(digest).decode()}" for digest in digests_of(image)]
    folder = f"/overlay-images/{config[:2]}/{config}"
    encoded = base64.b64encode(image.config_digest.encode()).decode()
    directories = [
        *("", "/overlay", "/overlay-images", "/overlay-layers"),
        *(f"/overlay/{base[:2]}", f"/overlay/{top[:2]}"),
        *(f"/overlay/{base[:2]}/{base}", f"/overlay/{top[:2]}/{top}"),
        *(f"/overlay-images/{config[:2]}", folder),
    ]
    assert found == {
        **dict.fromkeys(directories, "directory"),
        f"/overlay/{base}": f"-> {base[:2]}/{base}",
        f"/overlay/{top}": f"-> {top[:2]}/{top}",
        f"/overlay-images/{config}": f"-> {config[:2]}/{config}",
        f"/overlay/{base[:2]}/{base}/diff": f"-> {at[0]}",
        f"/overlay/{base[:2]}/{base}/link": f"file ../{links[0]}",
        f"/overlay/{top[:2]}/{top}/diff": f"-> {at[1]}",
        f"/overlay/{top[:2]}/{top}/link": f"file ../{links[1]}",
        f"/overlay/{top[:2]}/{top}/lower": f"file {links[0]}",
        f"/overlay/{links[0]}": f"-> ../{base}/diff",
        f"/overlay/{links[1]}": f"-> ../{top}/diff",
        "/overlay-layers/layers.lock": "file ",
        "/overlay-images/images.lock": "file ",
        f"{folder}/manifest": f"file {image.manifest.decode()}",
        f"{folder}/={encoded}": f"file {image.config.decode()}",
    }
    # With names that depend on the layers below, unlike those of cvmfs-format.md.
    diff_ids = [layer.diff_id.removeprefix("sha256:") for layer in image.layers]
    assert base == diff_ids[0]
    assert top == hashlib.sha256(f"{base}+{diff_ids[1]}".encode()).hexdigest()
    compressed = [len(layer.blob) for layer in image.layers]
    assert layers == [
        {
            "id": base,
            "compressed-diff-digest": digests_of(image)[0],
            "compressed-size": compressed[0],
            "diff-digest": image.layers[0].diff_id,
            "diff-size": 2,
        },
        {
            "id": top,
            "parent": base,
            "compressed-diff-digest": digests_of(image)[1],
            "compressed-size": compressed[1],
            "diff-digest": image.layers[1].diff_id,
            "diff-size": 1,
        },
    ]
    name = runner.reference(NAME)
    assert images == [
        {
            "id": image.config_digest.removeprefix("sha256:"),
            "digest": image.digest,
            "names": sorted([name, f"{name.removesuffix(':v1')}@{image.digest}"]),
            "layer": top,
        }
    ]


def digests_of(image: Image) -> list[str]:
    return [layer["digest"] for layer in json.loads(image.manifest)["layers"]]


# Shifter: imagegw/shifter_imagegw/converters.py, ``generate_squashfs_image``.

# Magic number, size of blocks, compression, major and minor version.
_SUPERBLOCK = struct.Struct("<I 8x I 4x H 6x H H")


def test_a_squashfs_file_is_of_the_sort_that_shifter_makes(
    runner: JobRunner, tmp_path: Path
) -> None:
    runner.allow(formats="[image]")
    image = publish(runner, BASE, TOP)
    (tmp_path / "root").mkdir()
    theirs = tmp_path / "theirs.squashfs"
    subprocess.run(
        [require_program("mksquashfs"), tmp_path / "root", theirs, "-all-root"],
        check=True,
        capture_output=True,
    )
    encoded = image.config_digest.removeprefix("sha256:")
    snapshot = runner.repository.read()
    dirent = snapshot.lookup(f"/.images/{encoded[:2]}/{encoded}.sqfs".encode())
    assert dirent is not None
    ours = snapshot.read(dirent)
    assert _SUPERBLOCK.unpack_from(ours) == _SUPERBLOCK.unpack_from(theirs.read_bytes())
