"""One name for all CPU types, as on unpacked.cern.ch, and direct names for each.

``/.multiarch/<architecture>/<registry>/<repository>:<tag>`` is one platform's link.
The usual name of the image then leads there by way of a variable: clients put what
``uname -m`` says for ``$(CVMFS_ARCH)``, which is not how images call architectures. So
beside each folder lie links by the other names.

Source: https://github.com/cvmfs/cvmfs/pull/4170 (the folders and their other names),
https://github.com/cvmfs/cvmfs/pull/3127 (the variable).
"""

from collections.abc import Iterable, Iterator, Mapping

from workers.formats.paths import MULTIARCH, image_path, link_target
from workers.images.platforms import Platform
from workers.publishing.plan import LinkAt
from workers.reference import Reference

_VARIABLE = b"$(CVMFS_ARCH:-%s)"
# What ``uname -m`` and other tools call the architectures of images.
_OTHER_NAMES: Mapping[bytes, tuple[bytes, ...]] = {
    b"386": (b"i386", b"i686"),
    b"amd64": (b"x86_64", b"x86-64"),
    b"arm64": (b"aarch64", b"arm64:v8"),
    b"arm:v6": (b"armel", b"armv6l"),
    b"arm:v7": (b"armhf", b"armv7l"),
    b"loong64": (b"loongarch64",),
}


def architecture_name(platform: Platform) -> bytes:
    """Return the name of a platform's folder: ``amd64``, ``arm:v7``."""
    parts = [platform.architecture, platform.variant]
    if platform.os != "linux":
        parts.insert(0, platform.os)
    return ":".join(filter(None, parts)).encode()


def platform_path(reference: Reference, platform: Platform) -> bytes:
    """Return where the link of one platform of an image lies."""
    return b"%s/%s%s" % (MULTIARCH, architecture_name(platform), image_path(reference))


def variant_link(reference: Reference, default: Platform) -> LinkAt:
    """Return the link that leads each client to its own platform.

    Args:
        reference: of the image.
        default: for clients that do not say what they are.
    """
    variable = _VARIABLE % architecture_name(default)
    path = image_path(reference)
    return LinkAt(path, link_target(path, MULTIARCH + b"/" + variable + path))


def other_names(platforms: Iterable[Platform]) -> Iterator[LinkAt]:
    """Yield the links by which platforms' folders are found by other names."""
    for platform in platforms:
        name = architecture_name(platform)
        for other in _OTHER_NAMES.get(name, ()):
            yield LinkAt(MULTIARCH + b"/" + other, name)
