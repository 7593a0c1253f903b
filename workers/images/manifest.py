"""What a manifest, an index and an image config say, checked before it is believed.

Pure: bytes in, values out. Which bytes those are, and that they have the right digest,
is the registry client's business.

Read first: https://github.com/opencontainers/image-spec, ``image-index.md``,
``manifest.md`` and ``config.md``; Docker's schema 2 has the same shape.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from workers.errors import PermanentError
from workers.images.platforms import Platform, choose, no_platform
from workers.images.rejected import ImageRejected, printable
from workers.media_types import MANIFEST_TYPES
from workers.reference import parse_digest

_CONFIG_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
_LAYER_TYPES = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)
# image-spec, descriptor.md: sizes are int64.
_LARGEST = (1 << 63) - 1


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
        platform: that it was built for.
        diff_ids: digests of the uncompressed layers, lowest first.
        environment: ``NAME=value`` each.
        entrypoint: arguments that every command gets put in front.
        command: what runs when nothing else is said.
        labels: by name.
    """

    platform: Platform
    diff_ids: tuple[str, ...]
    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None


def choose_platform(raw_index: bytes, wanted: Platform) -> Descriptor:
    """Return the manifest of an index that is for a platform.

    Attestations, which lie in an index too, are for nothing.

    Raises:
        WrongPlatform: there is none, with the platforms that there are.
        ImageRejected: it is no index that we can read.
    """
    offered: dict[Platform, Descriptor] = {}
    unsaid: list[Descriptor] = []
    manifests = _object(_parse(raw_index, "index"), "index").get("manifests")
    for item in _list(manifests, "index.manifests"):
        entry = _object(item, "index.manifests[]")
        descriptor = _descriptor(entry, "index.manifests[]")
        described = entry.get("platform")
        annotations = _object(entry.get("annotations") or {}, "annotations")
        if (
            descriptor.media_type not in MANIFEST_TYPES
            # buildkit's attestations lie in the index beside the images they speak of.
            or "vnd.docker.reference.type" in annotations
        ):
            continue
        if described is None:
            unsaid.append(descriptor)
            continue
        platform = _platform(_object(described, "platform"))
        if platform.os != "unknown":
            offered.setdefault(platform, descriptor)
    chosen = choose(offered, wanted, unsaid)
    if chosen is None:
        raise no_platform(offered, wanted)
    return chosen


def parse_manifest(raw: bytes) -> ImageManifest:
    """Parse the manifest of one image.

    Raises:
        ImageRejected: it is no image that we can publish, and why.
    """
    document = _object(_parse(raw, "manifest"), "manifest")
    config = _descriptor(_object(document.get("config"), "config"), "config")
    if config.media_type not in _CONFIG_TYPES:
        kind = printable(str(document.get("artifactType") or config.media_type))
        raise ImageRejected(f"this is no container image but an artifact: {kind}")
    layers = tuple(
        _descriptor(_object(item, "layers[]"), "layers[]")
        for item in _list(document.get("layers"), "layers")
    )
    if not layers:
        raise ImageRejected("the image has no layers: there is nothing to publish")
    for layer in layers:
        if layer.media_type not in _LAYER_TYPES:
            raise ImageRejected(_why_not(layer.media_type))
    return ImageManifest(config, layers)


def parse_config(raw: bytes, layers: int) -> ImageConfig:
    """Parse the config of an image with that many layers.

    Raises:
        ImageRejected: it does not fit the manifest or the specification.
    """
    document = _object(_parse(raw, "config"), "config")
    rootfs = _object(document.get("rootfs"), "config.rootfs")
    diff_ids = _strings(rootfs.get("diff_ids"), "config.rootfs.diff_ids")
    if len(diff_ids) != layers:
        raise ImageRejected(
            f"the image's config names {len(diff_ids)} layers, its manifest {layers}: "
            "build it again"
        )
    settings = _object(document.get("config") or {}, "config.config")
    labels = _object(settings.get("Labels") or {}, "config.Labels")
    return ImageConfig(
        _platform(document),
        tuple(_digest(diff_id) for diff_id in diff_ids),
        _strings(settings.get("Env") or [], "config.Env"),
        _strings(settings.get("Entrypoint") or [], "config.Entrypoint"),
        _strings(settings.get("Cmd") or [], "config.Cmd"),
        {_whole(name): _whole(str(value)) for name, value in labels.items()},
    )


def _why_not(media_type: str) -> str:
    if "encrypted" in media_type:
        return "the image has encrypted layers, which nobody without the key can read"
    if "foreign" in media_type or "nondistributable" in media_type:
        return "the image has foreign layers, whose licence forbids to publish them"
    return (
        f"the image has a layer of unknown type {printable(media_type)}: only tar is "
        "read, as it is or compressed with gzip or zstd"
    )


def _platform(document: Mapping[str, object]) -> Platform:
    return Platform.of(
        str(document.get("os") or ""),
        str(document.get("architecture") or ""),
        str(document.get("variant") or ""),
    )


def _parse(raw: bytes, what: str) -> object:
    try:
        document: object = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ImageRejected(f"the image's {what} is no JSON: {error}") from error
    return document


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ImageRejected(f"the image's {what} is missing or of a wrong type")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise ImageRejected(f"the image's {what} is missing or of a wrong type")
    return value


def _strings(value: object, what: str) -> tuple[str, ...]:
    """Return a list of texts that a process could be given."""
    items = _list(value, what)
    texts = tuple(_whole(item) for item in items if isinstance(item, str))
    if len(texts) != len(items):
        raise ImageRejected(f"the image's {what} holds something that is no text")
    if any("\0" in text for text in texts):
        raise ImageRejected(f"the image's {what} holds a NUL byte")
    return texts


def _whole(text: str) -> str:
    """Return a text with halves of surrogate pairs replaced, as Go's JSON does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _digest(value: object) -> str:
    try:
        return parse_digest(str(value))
    except PermanentError as error:
        raise ImageRejected(f"the image names a wrong {error}") from error


def _descriptor(value: Mapping[str, object], what: str) -> Descriptor:
    size = value.get("size")
    if type(size) is not int or not 0 <= size <= _LARGEST:
        raise ImageRejected(f"the image's {what} has no size")
    media_type = str(value.get("mediaType") or "")
    return Descriptor(media_type, _digest(value.get("digest")), size)
