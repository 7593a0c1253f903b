"""An image as an OCI layout, as ``skopeo copy oci:…`` and others read it.

Its layers are made again from the published ones: the blobs of the registry are not in
CVMFS. So they unpack to the same, but their digests are others, and so are those of the
config, which keeps all but them, and of the manifest. Where not all layers are
published, the whole root file system becomes one.

Source: https://github.com/opencontainers/image-spec, ``image-layout.md``,
``layer.md`` ("Whiteouts"), ``config.md``.
"""

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from isal import isal_zlib

from workers.archives.entries import ArchiveEntry, linked, published, walk
from workers.archives.outcome import Export, ExportFailed, Tell
from workers.archives.tar import write_tar
from workers.cvmfs import Dirent, NotFound
from workers.documents.go_json import Struct
from workers.exporting.destination import new_directory
from workers.formats.overlay_layer import NotOurLayer, read_overlay_form
from workers.formats.paths import layer_path, record_path
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.names import join
from workers.published.find import PublishedImage
from workers.publishing.publisher import PublishedTree

_TYPE = "application/vnd.oci.image"
_LEVEL = 2
_GZIP_WINDOW = 31  # 32 KiB, and gzip's own header, without a time
_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
_EMPTY_FILE = Dirent(stat.S_IFREG)


@dataclass(frozen=True, slots=True)
class _Blob:
    """A written blob, and for layers the digest of what it unpacks to."""

    media_type: str
    digest: str
    size: int
    diff_id: str = ""

    def descriptor(self, **more: object) -> dict[str, object]:
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
            **more,
        }


def export_oci(
    tree: PublishedTree,
    image: PublishedImage,
    destination: Path,
    tell: Tell = lambda _: None,
) -> Export:
    """Write an image into a new directory.

    Args:
        tree: the revision to read.
        image: one platform of it.
        destination: is made; must not exist or be empty.
        tell: is told of every entry.

    Raises:
        ExportFailed: neither layers nor root file system are published, the
            destination is not empty, or the disk refuses.
        FormatError: the repository is damaged there.
    """
    with new_directory(destination):
        return _Layout(tree, destination, tell).write(image)


class _Layout:
    def __init__(self, tree: PublishedTree, folder: Path, tell: Tell) -> None:
        self._tree = tree
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._tell = tell
        self._whole = Export()

    def write(self, image: PublishedImage) -> Export:
        self._blobs.mkdir(parents=True)
        original = image.manifest(self._tree)
        parsed = Struct.parse(image.config(self._tree), "config")
        digests = [layer.digest for layer in original.layers]
        if all(map(self._is_published, digests)):
            made = {digest: self._layer(digest) for digest in dict.fromkeys(digests)}
            layers = [made[digest] for digest in digests]
            config = parsed.without("rootfs")
        else:
            layers = [self._whole_image(image)]
            config = parsed.without("rootfs", "history")  # of layers that are no more
        config["rootfs"] = {
            "type": "layers",
            "diff_ids": [layer.diff_id for layer in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": self._json(config, f"{_TYPE}.config.v1+json").descriptor(),
            "layers": [layer.descriptor() for layer in layers],
        }
        written = self._json(manifest, f"{_TYPE}.manifest.v1+json")
        name = image.reference.tag or "latest"
        named = {"annotations": {"org.opencontainers.image.ref.name": name}}
        index = {"schemaVersion": 2, "manifests": [written.descriptor(**named)]}
        (self._folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self._folder / "index.json").write_text(json.dumps(index))
        return self._whole

    def _json(self, document: Mapping[str, object], media_type: str) -> _Blob:
        data = json.dumps(document).encode()
        encoded = hashlib.sha256(data).hexdigest()
        (self._blobs / encoded).write_bytes(data)
        return _Blob(media_type, f"sha256:{encoded}", len(data))

    def _is_published(self, digest: str) -> bool:
        return self._tree.lookup(record_path(digest)) is not None

    def _layer(self, digest: str) -> _Blob:
        layer = _published_layer(self._tree, digest)
        return self._packed(_members(layer))

    def _whole_image(self, image: PublishedImage) -> _Blob:
        root = image.root(self._tree)
        return self._packed(published(self._tree.walk(root), root))

    def _packed(self, entries: Iterator[ArchiveEntry]) -> _Blob:
        unpacked, packed = hashlib.sha256(), hashlib.sha256()
        compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        with NamedTemporaryFile(dir=self._blobs, delete=False) as file:

            def store(data: bytes) -> None:
                packed.update(data)
                file.write(data)

            def write(data: bytes) -> None:
                unpacked.update(data)
                store(compressor.compress(data))

            export = write_tar(entries, self._tree.pieces, write, self._told)
            store(compressor.flush())
            size = file.tell()
        place = Path(file.name)
        place.chmod(0o644)
        place.rename(self._blobs / packed.hexdigest())
        self._whole.entries += export.entries
        self._whole.size += export.size
        self._whole.losses += export.losses
        diff_id = f"sha256:{unpacked.hexdigest()}"
        media_type = f"{_TYPE}.layer.v1.tar+gzip"
        return _Blob(media_type, f"sha256:{packed.hexdigest()}", size, diff_id)

    def _told(self, layer: Export) -> None:
        whole = self._whole
        self._tell(Export(whole.entries + layer.entries, whole.size + layer.size))


def _published_layer(tree: PublishedTree, digest: str) -> LayerTree:
    try:
        return read_overlay_form(tree.tree(layer_path(digest)), tree.read).layer
    except (NotFound, NotOurLayer) as error:
        raise ExportFailed(
            f"layer {digest} cannot be read here: take the root file system"
            " (--format tar)"
        ) from error


def _members(layer: LayerTree) -> Iterator[ArchiveEntry]:
    """Yield what a layer's tar says, deletions in a directory before what is new."""
    wanted = layer.opaque | layer.whiteouts.keys()
    for directory in sorted(wanted - layer.tree.directories.keys()):
        yield from _deletions(layer, directory)
    for entry in linked(walk(layer.tree)):
        if entry.path not in layer.implied:
            yield entry
        if stat.S_ISDIR(entry.dirent.mode):
            yield from _deletions(layer, entry.path)


def _deletions(layer: LayerTree, directory: bytes) -> Iterator[ArchiveEntry]:
    if directory in layer.opaque:
        yield ArchiveEntry(join(directory, _OPAQUE), _EMPTY_FILE)
    for name in sorted(layer.whiteouts.get(directory, ())):
        yield ArchiveEntry(join(directory, _WHITEOUT + name), _EMPTY_FILE)
