"""What a manifest and an image config say, checked before it is believed.

Pure: bytes in, values out. Which bytes those are, and that they have the right digest,
is the registry client's business. Keys and types are read as Go reads them
(``workers/documents/go_json.py``): what no runtime can parse is not published.

Read first: https://github.com/opencontainers/image-spec, ``manifest.md`` and
``config.md``; Docker's schema 2 has the same shape. Then ``index.py``.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workers.documents.go_json import JsonKind, Struct, WrongJson
from workers.errors import PermanentError
from workers.images.platforms import Platform
from workers.images.rejected import ImageRejected, printable
from workers.media_types import DOCKER_MANIFEST
from workers.reference import parse_digest

_CONFIG_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
# What old registries and tools say of the config of an image of Docker's.
# Source: moby, ``distribution/registry.go``, ``ImageTypes``.
_OLD_CONFIG_TYPES = frozenset(
    {"", "application/octet-stream", "application/json", "text/html"}
)
_LAYER_TYPES = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        # Of before schema 2 was done, and of manifests that people write.
        "application/vnd.docker.container.image.rootfs.diff+x-gtar",
        "",
    }
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of one blob: type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """An image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What of an image's config matters to us.

    Attributes:
        platform: that it was built for, as far as it says.
        diff_ids: digests of the uncompressed layers, lowest first.
        environment: ``NAME=value`` each.
        entrypoint: arguments that every command gets put in front; a lone empty one is
            none.
        command: what runs when nothing else is said.
        labels: by name.
    """

    platform: Platform
    diff_ids: tuple[str, ...]
    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None


def parse_manifest(raw: bytes) -> ImageManifest:
    """Parse the manifest of one image.

    Raises:
        ImageRejected: it is no image that we can publish, and why.
    """
    with reading():
        document = Struct.parse(raw, "manifest")
        config = read_descriptor(document.struct("config"))
        layers = tuple(map(read_descriptor, document.structs("layers")))
        media_type, artifact = document.text("mediaType"), document.text("artifactType")
    is_old = media_type == DOCKER_MANIFEST and config.media_type in _OLD_CONFIG_TYPES
    if config.media_type not in _CONFIG_TYPES and not is_old:
        kind = printable(artifact or config.media_type)
        raise ImageRejected(f"this is no container image but an artifact: {kind}")
    if not layers:
        raise ImageRejected("the image has no layers: there is nothing to publish")
    for layer in layers:
        if layer.media_type not in _LAYER_TYPES:
            raise ImageRejected(_why_not(layer.media_type))
    return ImageManifest(config, layers)


def parse_config(raw: bytes, layers: int) -> ImageConfig:
    """Parse the config of an image with that many layers.

    What all runtimes read of it has to be of the types that they read.

    Raises:
        ImageRejected: it does not fit the manifest or the specification.
    """
    with reading():
        document = Struct.parse(raw, "config")
        document.check(created=JsonKind.TIME, author=JsonKind.TEXT)
        document.check_each(
            "history",
            created=JsonKind.TIME,
            created_by=JsonKind.TEXT,
            author=JsonKind.TEXT,
            comment=JsonKind.TEXT,
            empty_layer=JsonKind.TRUTH,
        )
        rootfs = document.struct("rootfs")
        rootfs.check(type=JsonKind.TEXT)
        diff_ids = rootfs.texts("diff_ids")
        settings = document.struct("config")
        settings.check(
            User=JsonKind.TEXT,
            WorkingDir=JsonKind.TEXT,
            StopSignal=JsonKind.TEXT,
            ExposedPorts=JsonKind.SET,
            Volumes=JsonKind.SET,
        )
        entrypoint = _arguments(settings, "Entrypoint")
        config = ImageConfig(
            Platform.said_in(document),
            diff_ids,
            _arguments(settings, "Env"),
            # Docker and podman run the command alone then, as if there were none.
            () if entrypoint == ("",) else entrypoint,
            _arguments(settings, "Cmd"),
            settings.text_map("Labels"),
        )
    if len(diff_ids) != layers:
        raise ImageRejected(
            f"the image's config names {len(diff_ids)} layers, its manifest {layers}: "
            "build it again"
        )
    _check_diff_ids(diff_ids)
    return config


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Refuse an image whose document is not what it should be."""
    try:
        yield
    except WrongJson as error:
        text = f"the image's {error}, so no runtime reads it: build it again"
        raise ImageRejected(text) from error


def read_descriptor(said: Struct) -> Descriptor:
    """Return what a manifest or an index says of a blob.

    Raises:
        WrongJson, ImageRejected: it says no such thing.
    """
    size = said.whole("size")
    if not said.says("size") or size < 0:
        raise ImageRejected(f"the image's {said.where} has no size: build it again")
    return Descriptor(said.text("mediaType"), _digest(said), size)


def _check_diff_ids(diff_ids: Sequence[str]) -> None:
    for number, diff_id in enumerate(diff_ids, 1):
        if _is_digest(diff_id) and not diff_id.startswith("sha256:"):
            algorithm = diff_id.partition(":")[0]
            raise ImageRejected(
                f"the image's config gives layer {number} a diff id of {algorithm}, "
                "which is not read: build it with a tool that writes sha256"
            )
        if not _is_digest(diff_id):
            raise ImageRejected(
                f"the image's config gives layer {number} the diff id "
                f"{printable(diff_id)}, which is no digest: build it again"
            )


def _is_digest(text: str) -> bool:
    try:
        parse_digest(text)
    except PermanentError:
        return False
    return True


def _why_not(media_type: str) -> str:
    if "encrypted" in media_type:
        return "the image has encrypted layers, which nobody without the key can read"
    if "foreign" in media_type or "nondistributable" in media_type:
        return "the image has foreign layers, whose licence forbids to publish them"
    return (
        f"the image has a layer of unknown type {printable(media_type)}: only tar is "
        "read, as it is or compressed with gzip or zstd"
    )


def _arguments(settings: Struct, name: str) -> tuple[str, ...]:
    """Return a list of texts that a process could be given."""
    texts = settings.texts(name)
    if any("\0" in text for text in texts):
        text = f"the image's {settings.where}.{name} holds a NUL byte: build it again"
        raise ImageRejected(text)
    return texts


def _digest(said: Struct) -> str:
    try:
        return parse_digest(said.text("digest"))
    except PermanentError as error:
        raise ImageRejected(f"the image names a wrong {error}") from error
