"""Which of several images for one platform is taken: the one that is known already."""

from workers.formats.documents import MANIFEST, platform_folders, read_document
from workers.formats.paths import flat_path, record_path
from workers.formats.receipt import Receipt
from workers.images.manifest import ImageManifest
from workers.images.platforms import Platform
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference
from workers.registry.digests import digest_of

_LIVE, _PUBLISHED, _UNKNOWN = 2, 1, 0


class KnownFirst:
    """Prefers what is live under a name, then what needs no download.

    Args:
        tree: what is published.
        reference: the name.
        live: its receipt.
    """

    def __init__(
        self, tree: PublishedTree, reference: Reference, live: Receipt
    ) -> None:
        self._tree = tree
        self._folders = platform_folders(reference, live)

    def __call__(self, platform: Platform, digest: str, image: ImageManifest) -> int:
        """Return how much an image is preferred; see ``Preference``."""
        folder = self._folders.get(platform)
        if folder is not None:
            raw = read_document(self._tree, folder + b"/" + MANIFEST)
            if raw is not None and digest_of(raw, like=digest) == digest:
                return _LIVE
        paths = [record_path(layer.digest) for layer in image.layers]
        if all(self._tree.lookup(path) is not None for path in paths):
            return _PUBLISHED
        is_flat = self._tree.lookup(flat_path(image.config.digest)) is not None
        return _PUBLISHED if is_flat else _UNKNOWN
