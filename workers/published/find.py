"""Which paths of a repository make up an image that somebody asks for."""

import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from workers.archives.outcome import ExportFailed
from workers.cvmfs import NotFound, Snapshot
from workers.formats.flat import RECEIPT
from workers.formats.multiarch import platform_path
from workers.formats.paths import METADATA, MULTIARCH, flat_path, image_path
from workers.images.manifest import ImageManifest, parse_manifest
from workers.images.platforms import Platform
from workers.reference import Reference

_CONFIG, _MANIFEST = b"/config.json", b"/manifest.json"


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

    def root(self, snapshot: Snapshot) -> bytes:
        """Return where its root file system lies.

        Raises:
            ExportFailed: there is none.
        """
        entry = snapshot.lookup(self.link)
        try:
            if entry is not None and b"$(" in entry.target:  # only a client can follow
                return snapshot.resolve(
                    flat_path(self.manifest(snapshot).config.digest)
                )
            return snapshot.resolve(self.link)
        except NotFound as error:
            raise ExportFailed(
                f"{self.reference} is published without a root file system: "
                "add `flat` to its rule's formats"
            ) from error

    def manifest(self, snapshot: Snapshot) -> ImageManifest:
        """Return the image's manifest.

        Raises:
            ExportFailed: it is not there.
            ImageRejected: it is not one.
        """
        return parse_manifest(_read(snapshot, self.metadata + _MANIFEST))

    def config(self, snapshot: Snapshot) -> bytes:
        """Return the image's config, its own bytes.

        Raises:
            ExportFailed: it is not there.
        """
        return _read(snapshot, self.metadata + _CONFIG)


def find_image(
    snapshot: Snapshot, reference: Reference, platform: Platform | None = None
) -> PublishedImage:
    """Find an image in a revision.

    Args:
        snapshot: the revision.
        reference: by tag; or by digest, whatever tag of the repository has it.
        platform: of an image that is published for several; ``None``: the one for
            clients that do not say what they are.

    Raises:
        ExportFailed: it is not there.
    """
    if reference.digest is not None:
        reference = _with_digest(snapshot, reference)
    link = image_path(reference)
    metadata = METADATA + link
    if snapshot.lookup(link) is None and snapshot.lookup(metadata) is None:
        raise ExportFailed(f"{reference} is not published here")
    default = PublishedImage(reference, link, metadata)
    if platform is None:
        return default
    path = platform_path(reference, platform)
    if snapshot.lookup(path) is not None:
        return PublishedImage(reference, path, METADATA + path)
    if _platform(default.config(snapshot)) in platform.suitable():
        return default
    raise ExportFailed(f"{reference} is not published here for {platform}")


def platform_links(snapshot: Snapshot, reference: Reference) -> Iterator[bytes]:
    """Yield the links of an image's platforms, if it is published for several."""
    if snapshot.lookup(MULTIARCH) is None:
        return
    for name, entry in snapshot.listdir(MULTIARCH).items():
        link = MULTIARCH + b"/" + name + image_path(reference)
        if stat.S_ISDIR(entry.mode) and snapshot.lookup(link) is not None:
            yield link


def _with_digest(snapshot: Snapshot, reference: Reference) -> Reference:
    """Return the published name of the repository that has a digest now."""
    alone = replace(reference, tag=None)
    if snapshot.lookup(METADATA + image_path(alone)) is not None:
        return alone
    folder, _, name = (METADATA + image_path(alone)).rpartition(b"/")
    before = name.partition(b":")[0] + b":"
    names = snapshot.listdir(folder) if snapshot.lookup(folder) is not None else {}
    for found in names:
        if not found.startswith(before):
            continue
        tag = found.removeprefix(before).decode(errors="replace")
        digests = set(_digests(snapshot, folder + b"/" + found))
        if reference.tag in {None, tag} and reference.digest in digests:
            return replace(reference, tag=tag, digest=None)
    raise ExportFailed(f"{reference} is not published here, under no tag")


def _digests(snapshot: Snapshot, metadata: bytes) -> Iterator[str]:
    """Yield what an image is known by: its manifest's digest, and its index's."""
    try:
        manifest = _read(snapshot, metadata + _MANIFEST)
        yield f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        yield json.loads(_read(snapshot, metadata + b"/" + RECEIPT))["digest"]
    except (ExportFailed, ValueError, KeyError, TypeError):
        return


def _platform(config: bytes) -> Platform:
    said = json.loads(config)
    return Platform.of(said["os"], said["architecture"], said.get("variant", ""))


def _read(snapshot: Snapshot, path: bytes) -> bytes:
    entry = snapshot.lookup(path)
    if entry is None or entry.content is None:
        raise ExportFailed(f"there is no {path.decode(errors='replace')} here")
    return snapshot.read(entry)
