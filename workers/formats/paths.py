"""Paths in a repository."""

from workers.reference import DOCKER_HUB, InvalidReference, Reference

FLAT = b"/.flat"
IMAGES = b"/.images"
LAYERS = b"/.layers"
METADATA = b"/.metadata"
MULTIARCH = b"/.multiarch"
PODMAN = b"/podmanStore"
FORMER = METADATA + b"/.former"

# unpacked.cern.ch has called Docker Hub by this name since before it was docker.io.
_DOCKER_HUB_DIRECTORY = b"registry.hub.docker.com"


def image_path(reference: Reference) -> bytes:
    """Return where the link of a tag lies: ``/<registry>/<repository>:<tag>``."""
    registry = reference.registry.encode()
    if reference.registry == DOCKER_HUB:
        registry = _DOCKER_HUB_DIRECTORY
    name = reference.tag or reference.digest or ""
    return b"/%s/%s:%s" % (registry, reference.repository.encode(), name.encode())


def reference_at(path: bytes) -> Reference | None:
    """Return the image whose link lies at a path, ``None`` where none of ours can.

    The inverse of ``image_path``, for images that have a tag or else a digest.
    """
    try:
        registry, _, rest = path.removeprefix(b"/").decode("ascii").partition("/")
        if registry == _DOCKER_HUB_DIRECTORY.decode():
            registry = DOCKER_HUB
        repository, _, name = rest.partition(":")
        separator = "@" if ":" in name else ":"
        reference = Reference.parse(f"{registry}/{repository}{separator}{name}")
    except (UnicodeDecodeError, InvalidReference):
        return None
    return reference if image_path(reference) == path else None


def metadata_path(reference: Reference) -> bytes:
    """Return the folder that says what is behind a tag."""
    return METADATA + image_path(reference)


def flat_path(config_digest: str) -> bytes:
    """Return where the root file system of an image lies, by its config's digest."""
    encoded = config_digest.partition(":")[2].encode()
    return b"%s/%s/%s" % (FLAT, encoded[:2], encoded)


def squashed_path(config_digest: str) -> bytes:
    """Return where an image lies as one squashfs file, by its config's digest."""
    encoded = config_digest.partition(":")[2].encode()
    return b"%s/%s/%s.sqfs" % (IMAGES, encoded[:2], encoded)


def layer_path(digest: str) -> bytes:
    """Return where a layer lies, by the digest of its compressed blob."""
    encoded = digest.partition(":")[2].encode()
    return b"%s/%s/%s" % (LAYERS, encoded[:2], encoded)


def record_path(digest: str) -> bytes:
    """Return where the record of a layer lies; one of another tool has none."""
    return layer_path(digest) + b"/.metadata/blob.json"


def link_target(link: bytes, target: bytes) -> bytes:
    """Return the relative target that leads from one absolute path to another."""
    return b"../" * (link.count(b"/") - 1) + target.lstrip(b"/")
