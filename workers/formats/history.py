"""Where what was live under a name before is remembered, to be brought back.

``/.metadata/.former/<name>/<digest hex>/`` has the receipt of a publication, and for
each platform the manifest and the config; the trees that they speak of lie where all
trees lie. It costs a few small files for each digest that a name ever had.
"""

from collections.abc import Iterator, Sequence

from workers.formats.multiarch import architecture_name, platform_path
from workers.formats.paths import FORMER, METADATA, image_path, metadata_path
from workers.images.platforms import Platform
from workers.publishing.plan import RemoveAt
from workers.reference import Reference

MANIFEST, CONFIG = b"manifest.json", b"config.json"
DOCUMENTS = (MANIFEST, CONFIG)


def former_path(reference: Reference, digest: str) -> bytes:
    """Return the folder of one digest that was live under a reference."""
    encoded = digest.partition(":")[2].encode()
    return b"%s%s/%s" % (FORMER, image_path(reference), encoded)


def former_documents(
    reference: Reference, digest: str, platform: Platform
) -> dict[bytes, bytes]:
    """Return by the names of a platform's documents where they are remembered."""
    folder = former_path(reference, digest) + b"/" + architecture_name(platform)
    return {name: folder + b"/" + name for name in DOCUMENTS}


def live_documents(
    reference: Reference, platforms: Sequence[Platform]
) -> Iterator[tuple[Platform, dict[bytes, bytes]]]:
    """Yield the platforms of a live name with where their documents are, by names."""
    for platform in platforms:
        if len(platforms) == 1:
            folder = metadata_path(reference)
        else:
            folder = METADATA + platform_path(reference, platform)
        yield platform, {name: folder + b"/" + name for name in DOCUMENTS}


def removals(reference: Reference, platforms: Sequence[Platform]) -> Iterator[RemoveAt]:
    """Yield what takes a name away, with all that is said of it.

    The trees stay: other names may lead to them.
    """
    yield RemoveAt(image_path(reference))
    yield RemoveAt(metadata_path(reference))
    for platform in platforms:
        path = platform_path(reference, platform)
        yield RemoveAt(path)
        yield RemoveAt(METADATA + path)
