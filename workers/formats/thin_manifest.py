"""Images that say where in CVMFS their layers are, instead of holding them.

A thin image is an ordinary image of one tiny layer with one file, ``thin.json``. The
docker graph driver for CVMFS reads it and mounts the layers that it names. The same
image gives the same bytes under the same name, so that who has pushed it finds out by
its digest; and other bytes under another name, so that one can be deleted by its digest
without the other.

Source: cvmfs-format.md 11 ("Docker graphdriver / thin image"); media types are
Docker's, because the driver is of Docker's time.
"""

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from workers.documents.go_json import Struct
from workers.media_types import DOCKER_MANIFEST

_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_FILE = "thin.json"
_MARK = "CVMFS_IMAGE=true"
# Thousands of layers; a thin image is read only to find out whether it is one.
LARGEST_LAYER_BYTES = 1 << 20
_LARGEST_TAR_BYTES = 4 << 20
# What of an image's settings a container of it starts with.
_KEPT = ("Cmd", "Entrypoint", "ExposedPorts", "Labels", "User", "Volumes", "WorkingDir")


@dataclass(frozen=True, slots=True)
class ThinImage:
    """An image ready to be pushed.

    Attributes:
        blobs: its layer and its config.
        manifest: that names them.
    """

    blobs: tuple[bytes, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """Digest of the manifest, by which the registry knows it."""
        return _digest(self.manifest)


@dataclass(frozen=True, slots=True)
class ThinLayer:
    """What the layer of a thin image says.

    Attributes:
        origin: URL of the image that it stands for.
        urls: where the layers of that image are, lowest first.
    """

    origin: str
    urls: tuple[str, ...]


def make_thin(
    name: str, origin: str, places: Sequence[tuple[str, str]], raw: bytes
) -> ThinImage:
    """Make the thin image of an image.

    Args:
        name: that it is pushed under.
        origin: URL of the image that it stands for.
        places: digest and URL of each layer, lowest first.
        raw: the image's own config.
    """
    described = {
        "version": "1.0",
        "origin": origin,
        "layers": [
            {"digest": digest.partition(":")[2], "url": url} for digest, url in places
        ],
    }
    tar = _tar(json.dumps(described, indent=2).encode())
    layer = gzip.compress(tar, mtime=0)
    original = Struct.parse(raw, "config")
    settings = original.struct("config")
    config = _json(
        {
            "architecture": original.text("architecture"),
            "os": original.text("os"),
            **original.plain("variant", "created"),
            "config": {
                **settings.plain(*_KEPT),
                "Env": [*settings.texts("Env"), _MARK],
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
            "history": [
                {
                    "created_by": f"thin image of {origin}",
                    "comment": f"pushed as {name}",
                }
            ],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": _descriptor(_CONFIG_TYPE, config),
            "layers": [_descriptor(_LAYER_TYPE, layer)],
        }
    )
    return ThinImage((layer, config), manifest)


def read_thin(layer: bytes) -> ThinLayer | None:
    """Read the only layer of an image; None: it is not a thin image's.

    Anybody may have written it. Nothing is unpacked but its begin, and only so far.
    """
    try:
        tar = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(
            layer, _LARGEST_TAR_BYTES
        )
        header, rest = tar[: tarfile.BLOCKSIZE], tar[tarfile.BLOCKSIZE :]
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        said = json.loads(rest[: max(member.size, 0)])
        if member.name != _FILE:
            return None
        return ThinLayer(
            str(said["origin"]), tuple(str(each["url"]) for each in said["layers"])
        )
    except (
        zlib.error,
        tarfile.HeaderError,
        ValueError,
        RecursionError,
        KeyError,
        TypeError,
    ):
        return None


def _tar(content: bytes) -> bytes:
    member = tarfile.TarInfo(_FILE)
    member.size = len(content)
    member.mode = 0o644
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(blob), "digest": _digest(blob)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
