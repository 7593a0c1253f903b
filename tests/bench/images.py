"""The images that are published: as OCI layouts, with small layers to put on top."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.images.debian_images import debian_image, science_image
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Layer,
    build_image,
    descriptor,
    gzip_layer,
    write_layout,
)

# Installed wherever the benchmarks run: real files, a few dozen and some 100 kB each.
SMALL_PACKAGES = ("click", "jinja2", "gunicorn")
_SITE_PACKAGES = "usr/local/lib/python3/site-packages"
_LARGEST_SMALL_LAYER = 1_000_000
_MOST_SMALL_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class LayoutImage:
    """An image ``latest`` in an OCI layout."""

    layout: Path

    @property
    def layers(self) -> tuple[Path, ...]:
        """The files of its layers, lowest first."""
        return tuple(self._blob(layer) for layer in self._manifest["layers"])

    @property
    def source(self) -> str:
        """What skopeo calls it."""
        return f"oci:{self.layout}:latest"

    def with_layer(self, tar: bytes, folder: Path) -> "LayoutImage":
        """Return the image with one more layer, as a layout in ``folder``.

        The other layers are shared, not copied.
        """
        manifest = self._manifest
        config = json.loads(self._blob(manifest["config"]).read_bytes())
        diff_ids = config["rootfs"]["diff_ids"]
        described = manifest["layers"]
        below = [
            Layer(b"", layer["mediaType"], diff_id)
            for layer, diff_id in zip(described, diff_ids, strict=True)
        ]
        top = gzip_layer(tar)
        described = [*described, descriptor(top.blob, top.media_type)]
        image = build_image([*below, top], manifest={"layers": described})
        write_layout(folder, "latest", image)
        for blob in self.layers:
            os.link(blob, folder / "blobs/sha256" / blob.name)
        return LayoutImage(folder)

    @property
    def _manifest(self) -> Any:
        index = json.loads((self.layout / "index.json").read_bytes())
        return json.loads(self._blob(index["manifests"][0]).read_bytes())

    def _blob(self, descriptor: Any) -> Path:
        return self.layout / "blobs" / str(descriptor["digest"]).replace(":", "/")


def repeated_image(image: LayoutImage, entries: int, folder: Path) -> LayoutImage:
    """Return an image of so many entries at most, as a layout in ``folder``.

    Names and all else are the image's own, again and again, each time in a directory of
    its own; what is in a file is only its name.
    """
    own = sum(1 for _ in _members(image))
    packed = io.BytesIO()
    plain = hashlib.sha256()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as zipped:
        for number in range(entries // own):
            for member in _members(image):
                data = _repeated(member, f"{number:04}/")
                plain.update(data)
                zipped.write(data)
        plain.update(end := bytes(2 * tarfile.BLOCKSIZE))
        zipped.write(end)
    diff_id = f"sha256:{plain.hexdigest()}"
    layer = Layer(packed.getvalue(), GZIP_LAYER_TYPE["oci"], diff_id)
    write_layout(folder, "latest", build_image([layer]))
    return LayoutImage(folder)


def _members(image: LayoutImage) -> Iterator[tarfile.TarInfo]:
    for path in image.layers:
        with tarfile.open(path, mode="r|*") as tar:
            yield from tar


def _repeated(member: tarfile.TarInfo, folder: str) -> bytes:
    """Return a member as it is in a tar where it is in another folder."""
    content = member.name.encode(errors="surrogateescape") if member.isreg() else b""
    member.pax_headers = {}
    member.name = folder + member.name
    member.size = len(content)
    if member.islnk():
        member.linkname = folder + member.linkname
    header = member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
    return header + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def bench_image(*, is_quick: bool) -> LayoutImage:
    """Return the image of design section 7, or a third of it."""
    return LayoutImage(debian_image() if is_quick else science_image())


def small_layer(package: str) -> bytes:
    """Return the tar of an installed package: at most 1 MB and 100 entries."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LookupError(f"{package} is not installed")
    folder = Path(spec.origin).parent
    files = [path for path in sorted(folder.rglob("*.py")) if path.is_file()]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in files[: _MOST_SMALL_ENTRIES // 2]:
            name = f"{_SITE_PACKAGES}/{package}/{path.relative_to(folder)}"
            tar.add(path, name)
    data = buffer.getvalue()
    if len(data) > _LARGEST_SMALL_LAYER:
        raise ValueError(f"{package} is larger than a small layer may be")
    return data
