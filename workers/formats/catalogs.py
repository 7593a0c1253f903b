"""Which folders of a repository are nested catalogs of their own."""

import re

from workers.formats.formats import FORMATS
from workers.formats.paths import FORMER, METADATA, PODMAN

_SHARD = re.compile(rb"/[0-9a-f]{2}")
_STORE = re.compile(
    PODMAN + rb"(?:/overlay-layers|/overlay(?:-images)?(?:/[0-9a-f]{2})?)?"
)
_ARCHITECTURE = re.compile(rb"/\.multiarch(?:/[^/]+|\Z)")


def is_catalog(path: bytes) -> bool:
    """Whether a directory that has to be made is a nested catalog of its own.

    Shards, registries and namespaces are, so that a commit rewrites a few small
    catalogs however many images there are. Repositories' folders of metadata are not:
    they hold two files.
    """
    if path == METADATA or _is_shelf_or_shard(path):
        return True
    if path == PODMAN or path.startswith(PODMAN + b"/"):
        return _STORE.fullmatch(path) is not None
    below = path.removeprefix(FORMER).removeprefix(METADATA)
    if begin := _ARCHITECTURE.match(below):
        below = below[begin.end() :]
        if not below:
            return True
    # The last component of an image's path carries a colon after its registry.
    components = below.split(b"/")[1:]
    return not below.startswith(b"/.") and not any(
        b":" in component for component in components[1:]
    )


def _is_shelf_or_shard(path: bytes) -> bool:
    shelves = [each.shelf for each in FORMATS if each.shelf]
    return path in shelves or (
        _SHARD.fullmatch(path[-3:]) is not None and path[:-3] in shelves
    )
