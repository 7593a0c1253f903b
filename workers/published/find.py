"""Which paths of a repository make up an image that somebody asks for."""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from workers.archives.outcome import ExportFailed
from workers.cvmfs import NotFound
from workers.documents.go_json import Struct
from workers.formats.documents import (
    CONFIG,
    MANIFEST,
    read_document,
    read_receipt,
)
from workers.formats.multiarch import platform_path
from workers.formats.paths import (
    METADATA,
    MULTIARCH,
    flat_path,
    image_path,
    metadata_path,
)
from workers.images.manifest import ImageManifest, parse_manifest
from workers.images.platforms import Platform
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """One platform of an image in a revision.

    Attributes:
        reference: by which it is published.
        link: path of the link that leads to it.
        metadata: path of the folder that says what it is.
    """

    reference: Reference
    link: bytes
    metadata: bytes

    def root(self, tree: PublishedTree) -> bytes:
        """Return where its root file system lies.

        Raises:
            ExportFailed: there is none.
        """
        entry = tree.lookup(self.link)
        try:
            if entry is not None and b"$(" in entry.target:  # only a client can follow
                return tree.resolve(flat_path(self.manifest(tree).config.digest))
            return tree.resolve(self.link)
        except NotFound as error:
            raise ExportFailed(
                f"{self.reference} is published without a root file system: "
                "add `flat` to its rule's formats"
            ) from error

    def manifest(self, tree: PublishedTree) -> ImageManifest:
        """Return the image's manifest.

        Raises:
            ExportFailed: it is not there.
            ImageRejected: it is not one.
        """
        return parse_manifest(_read(tree, self.metadata + b"/" + MANIFEST))

    def config(self, tree: PublishedTree) -> bytes:
        """Return the image's config, its own bytes.

        Raises:
            ExportFailed: it is not there.
        """
        return _read(tree, self.metadata + b"/" + CONFIG)


def find_image(
    tree: PublishedTree, reference: Reference, platform: Platform | None = None
) -> PublishedImage:
    """Find an image in a revision.

    Args:
        tree: the revision.
        reference: by tag; or by digest, whatever tag of the repository has it.
        platform: of an image that is published for several; ``None``: the one for
            clients that do not say what they are.

    Raises:
        ExportFailed: it is not there.
    """
    if reference.digest is not None:
        reference = _with_digest(tree, reference)
    link = image_path(reference)
    metadata = METADATA + link
    if tree.lookup(link) is None and tree.lookup(metadata) is None:
        raise ExportFailed(f"{reference} is not published here")
    default = PublishedImage(reference, link, metadata)
    if platform is None:
        return default
    path = platform_path(reference, platform)
    if tree.lookup(path) is not None:
        return PublishedImage(reference, path, METADATA + path)
    if not _platforms(tree, default).isdisjoint(platform.suitable()):
        return default
    raise ExportFailed(f"{reference} is not published here for {platform}")


def platform_links(tree: PublishedTree, reference: Reference) -> Iterator[bytes]:
    """Yield the links of an image's platforms, if it is published for several."""
    if tree.lookup(MULTIARCH) is None:
        return
    for name, entry in tree.listdir(MULTIARCH).items():
        link = MULTIARCH + b"/" + name + image_path(reference)
        if stat.S_ISDIR(entry.mode) and tree.lookup(link) is not None:
            yield link


def _with_digest(tree: PublishedTree, reference: Reference) -> Reference:
    """Return the published name of the repository that has a digest now."""
    alone = replace(reference, tag=None)
    if tree.lookup(METADATA + image_path(alone)) is not None:
        return alone
    folder, _, name = (METADATA + image_path(alone)).rpartition(b"/")
    before = name.partition(b":")[0] + b":"
    names = tree.listdir(folder) if tree.lookup(folder) is not None else {}
    for found in names:
        if not found.startswith(before):
            continue
        tag = found.removeprefix(before).decode(errors="replace")
        tagged = replace(reference, tag=tag, digest=None)
        digests = set(_digests(tree, tagged))
        if reference.tag in {None, tag} and reference.digest in digests:
            return tagged
    raise ExportFailed(f"{reference} is not published here, under no tag")


def _digests(tree: PublishedTree, reference: Reference) -> Iterator[str]:
    """Yield what an image is known by: its manifest's digest, and its index's."""
    manifest = read_document(tree, metadata_path(reference) + b"/" + MANIFEST)
    if manifest is not None:
        yield f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    if digest := read_receipt(tree, reference).digest:
        yield digest


def _platforms(tree: PublishedTree, image: PublishedImage) -> set[Platform]:
    """Return what an image is for: as it is published, and by its config.

    Where the two differ by more than a variant, the config is mistaken.
    """
    published = read_receipt(tree, image.reference).platforms
    built_for = Platform.said_in(Struct.parse(image.config(tree), "config"))
    if len(published) != 1:
        return {built_for}
    return {published[0], built_for} if built_for.may_be(published[0]) else {*published}


def _read(tree: PublishedTree, path: bytes) -> bytes:
    document = read_document(tree, path)
    if document is None:
        raise ExportFailed(f"there is no {path.decode(errors='replace')} here")
    return document
