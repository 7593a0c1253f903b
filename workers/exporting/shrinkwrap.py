"""What of a repository ``cvmfs_shrinkwrap`` has to copy for one image to be whole.

A line for each: a path alone is that entry, ``/*`` behind it all that is below.

Source: cvmfs/shrinkwrap/spec_tree.cc; cvmfs-format.md 12.
"""

from collections.abc import Iterator

from workers.formats.paths import METADATA, image_path
from workers.published.find import PublishedImage, platform_links
from workers.publishing.publisher import PublishedTree


def specification(tree: PublishedTree, image: PublishedImage) -> Iterator[bytes]:
    """Yield the lines: links, what is said of the image, root file systems.

    An image that is published for several platforms is copied with all of them, unless
    it is one platform's link that was asked for.

    Raises:
        ExportFailed: there is no root file system.
    """
    images = [image]
    if image.link == image_path(image.reference):
        images += [
            PublishedImage(image.reference, link, METADATA + link)
            for link in platform_links(tree, image.reference)
        ]
    roots = dict.fromkeys(one.root(tree) for one in images)
    for one in images:
        yield one.link
        yield one.metadata + b"/*"
    for root in roots:
        yield root + b"/*"
