"""Images as bytes, with the digests that belong to them."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zstandard

Kind = Literal["oci", "docker"]

# By kind: image manifest, index, config, prefix of a layer.
_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker"
MANIFEST_TYPE: dict[Kind, str] = {
    "oci": f"{_OCI}.manifest.v1+json",
    "docker": f"{_DOCKER}.distribution.manifest.v2+json",
}
INDEX_TYPE: dict[Kind, str] = {
    "oci": f"{_OCI}.index.v1+json",
    "docker": f"{_DOCKER}.distribution.manifest.list.v2+json",
}
CONFIG_TYPE: dict[Kind, str] = {
    "oci": f"{_OCI}.config.v1+json",
    "docker": f"{_DOCKER}.container.image.v1+json",
}
PLAIN_LAYER_TYPE: dict[Kind, str] = {
    "oci": f"{_OCI}.layer.v1.tar",
    "docker": f"{_DOCKER}.image.rootfs.diff.tar",
}
GZIP_LAYER_TYPE: dict[Kind, str] = {
    "oci": f"{_OCI}.layer.v1.tar+gzip",
    "docker": f"{_DOCKER}.image.rootfs.diff.tar.gzip",
}
ZSTD_LAYER_TYPE = f"{_OCI}.layer.v1.tar+zstd"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of regular files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a registry holds it; lie in any field to test who believes it."""

    blob: bytes
    media_type: str
    diff_id: str


def gzip_layer(tar: bytes, kind: Kind = "oci") -> Layer:
    return Layer(gzip.compress(tar, 1, mtime=0), GZIP_LAYER_TYPE[kind], digest_of(tar))


def gzip_members_layer(tar: bytes) -> Layer:
    """Return a layer of many gzip members, as pigz and eStargz write them."""
    pieces = [tar[at : at + 1000] for at in range(0, len(tar), 1000)]
    blob = b"".join(gzip.compress(piece, 1, mtime=0) for piece in pieces)
    return Layer(blob, GZIP_LAYER_TYPE["oci"], digest_of(tar))


def zstd_frames_layer(tar: bytes) -> Layer:
    """Return a layer of several zstd frames and skippable ones, as zstd:chunked is."""
    skippable = b"\x50\x2a\x4d\x18" + (100).to_bytes(4, "little") + bytes(100)
    pieces = [tar[at : at + 1000] for at in range(0, len(tar), 1000)]
    frames = [zstandard.compress(piece) for piece in pieces]
    blob = skippable + skippable.join(frames) + skippable
    return Layer(blob, ZSTD_LAYER_TYPE, digest_of(tar))


def plain_layer(tar: bytes, kind: Kind = "oci") -> Layer:
    return Layer(tar, PLAIN_LAYER_TYPE[kind], digest_of(tar))


def zstd_layer(tar: bytes) -> Layer:
    return Layer(zstandard.compress(tar), ZSTD_LAYER_TYPE, digest_of(tar))


@dataclass(frozen=True, slots=True)
class Image:
    """An image manifest with everything that it names."""

    manifest: bytes
    media_type: str
    config: bytes
    layers: tuple[Layer, ...]
    platform: str

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        return digest_of(self.config)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return (self.config, *(layer.blob for layer in self.layers))


@dataclass(frozen=True, slots=True)
class Index:
    """An index with the images that it names."""

    manifest: bytes
    media_type: str
    images: tuple[Image, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def descriptor(data: bytes, media_type: str, **more: object) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": digest_of(data),
        "size": len(data),
        **more,
    }


def build_image(
    layers: Sequence[bytes | Layer],
    *,
    config: Mapping[str, object] | None = None,
    kind: Kind = "oci",
    platform: str = "linux/amd64",
    manifest: Mapping[str, object] | None = None,
) -> Image:
    """Return an image.

    Args:
        layers: uncompressed tars, which are gzipped here, or layers as they are.
        config: more fields of the config, ``{"config": {"Env": [...]}}``.
        kind: OCI, or Docker's schema 2.
        platform: os/architecture[/variant].
        manifest: more fields of the manifest.
    """
    whole = tuple(
        layer if isinstance(layer, Layer) else gzip_layer(layer, kind)
        for layer in layers
    )
    configuration = {
        **_platform(platform),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in whole]},
        **(config or {}),
    }
    config_bytes = json.dumps(configuration).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE[kind],
        "config": descriptor(config_bytes, CONFIG_TYPE[kind]),
        "layers": [descriptor(layer.blob, layer.media_type) for layer in whole],
        **(manifest or {}),
    }
    raw = json.dumps(document, indent=2).encode()
    return Image(raw, MANIFEST_TYPE[kind], config_bytes, whole, platform)


def build_index(images: Sequence[Image], *, kind: Kind = "oci") -> Index:
    """Return an index of images, each under its platform."""
    children = [
        descriptor(image.manifest, image.media_type, platform=_platform(image.platform))
        for image in images
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE[kind],
        "manifests": children,
    }
    raw = json.dumps(document, indent=2).encode()
    return Index(raw, INDEX_TYPE[kind], tuple(images))


def _platform(text: str) -> dict[str, str]:
    names = ("os", "architecture", "variant")
    return dict(zip(names, text.split("/"), strict=False))


def write_layout(folder: Path, tag: str, image: Image | Index) -> None:
    """Write an OCI layout that ``skopeo copy oci:<folder>:<tag>`` reads."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    images = image.images if isinstance(image, Index) else (image,)
    contents = [image.manifest]
    for child in images:
        contents += [child.manifest, *child.blobs]
    for data in contents:
        (blobs / digest_of(data).partition(":")[2]).write_bytes(data)
    named = descriptor(
        image.manifest,
        image.media_type,
        annotations={"org.opencontainers.image.ref.name": tag},
    )
    index = {"schemaVersion": 2, "manifests": [named]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def read_layout(layout: Path) -> Image:
    """Return the only image of an OCI layout."""
    blobs = layout / "blobs" / "sha256"

    def blob(digest: str) -> bytes:
        return (blobs / digest.partition(":")[2]).read_bytes()

    [named] = json.loads((layout / "index.json").read_bytes())["manifests"]
    raw = blob(named["digest"])
    manifest = json.loads(raw)
    config = blob(manifest["config"]["digest"])
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    layers = tuple(
        Layer(blob(layer["digest"]), layer["mediaType"], diff_id)
        for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    )
    return Image(raw, named["mediaType"], config, layers, "linux/amd64")
