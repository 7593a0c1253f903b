"""An additional image store for podman and CRI-O, over the layers that are there.

``/podmanStore`` is what containers-storage calls a store of the overlay driver. It
holds no files of images, only what leads to ``/.layers``:

* ``overlay/<layer>/``: ``diff`` leads to the layer, ``lower`` names those below it by
  short paths, ``link`` is its own;
* ``overlay-images/<image>/``: manifest and config, as the registry has them;
* ``overlay-layers/layers.json`` and ``overlay-images/images.json`` list all of them.

A layer's name depends on those below it, as its ``lower`` does. It is computed as
podman computes it, so that an image that is pulled finds the layers here that it
shares, and fetches the others only. A layer that is nothing without those below it
(``chained_layer.py``) is not in ``/.layers``: ``diff`` is its directory then.

The lists grow with the number of images. They hold only what podman has to know before
it looks into an image's own folder; see ``RecordsAt`` for how they are changed.

So do the two directories in which podman looks for layers and for images, and a commit
rewrites the catalog of a directory as a whole. So they hold one link for each, to a
folder in one of 256 shards, where also the short paths are. Podman would have these in
``overlay/l``, but takes any that lead from there to a link.

Source: containers/storage, ``drivers/overlay/overlay.go`` (folders; ``getLower`` and
``getLowerDirs`` for what a link may be), ``layers.go`` and ``images.go`` (lists);
containers/image, ``storage/storage_dest.go`` (names of layers).
"""

import base64
import hashlib
import json
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from workers.cvmfs import Dirent, StreamedTree
from workers.documents.go_json import Struct, WrongJson
from workers.formats.documents import read_document
from workers.formats.flat_record import flat_record
from workers.formats.format import (
    Building,
    ConfigDigest,
    ConvertedImage,
    Format,
    ImageBounds,
    Placement,
    Use,
)
from workers.formats.overlay_layer import LAYERFS
from workers.formats.paths import PODMAN, layer_path, link_target, record_path
from workers.formats.receipt import Receipt
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.verify import verify_layer
from workers.images.manifest import Descriptor
from workers.images.platforms import Platform, default
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import FileAt, LinkAt, RecordsAt, Step, TreeAt
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference

_OVERLAY = PODMAN + b"/overlay"
_LAYERS = PODMAN + b"/overlay-layers"
_IMAGES = PODMAN + b"/overlay-images"
# Opened for reading by who cannot write here, and locked.
_LOCKS = (_LAYERS + b"/layers.lock", _IMAGES + b"/images.lock")

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer of an image, as it is published.

    Attributes:
        digest: of the compressed blob, by which it lies in ``/.layers``.
        compressed_size: of the blob, in bytes.
        diff_id: of the tar.
        size: of its files, in bytes.
        is_alone: whether it is there, and not in the store.
    """

    digest: str
    compressed_size: int
    diff_id: str
    size: int
    is_alone: bool = True


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One platform of an image.

    Attributes:
        digest: of its manifest.
        manifest: the manifest's own bytes.
        config_digest: whose hex digits are podman's ``IMAGE ID``.
        config: the config's own bytes.
        layers: lowest first.
    """

    digest: str
    manifest: bytes
    config_digest: str
    config: bytes
    layers: Sequence[StoredLayer]


class Podman(Format):
    """See the module."""

    name = "podman"
    parts = ("layers",)

    def missing(
        self, image: ResolvedImage, tree: PublishedTree, limits: ImageBounds
    ) -> Iterator[str]:
        """Yield the digests of layers that should be in the store and are not."""
        known = flat_record(tree, image)
        if known is None:
            return
        for layer, path in _diffs(image):
            if layer.digest in known.apart and not _is_directory(tree.lookup(path)):
                yield layer.digest

    def build(self, converted: ConvertedImage, building: Building) -> Iterator[TreeAt]:
        """Yield the trees of layers that are nothing without those below them."""
        for number, (layer, path) in enumerate(_diffs(converted.image)):
            if layer.digest in converted.apart:
                tree = converted.forms()[number].tree()
                yield TreeAt(path, tree, partial(_verify, LayerTree(tree)))

    def steps(
        self, placement: Placement, building: Building, tree: PublishedTree
    ) -> Iterator[Step]:
        """Yield the steps that put the image into the store."""
        images = placement.images
        stored = [_stored(image, building, tree) for image in images]
        yield from put_in_store(placement.reference, default(images).digest, stored)

    def withdraw(
        self, reference: Reference, former: Sequence[Platform], live: Receipt
    ) -> Iterator[Step]:
        """Yield the steps after which podman knows no image by the name."""
        if self.name in live.formats:
            yield from take_from_store(reference)

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str:
        """Return the name that podman is given."""
        return str(reference)

    def uses(self, place: str, *, is_alone: bool) -> Iterator[Use]:
        """Yield podman's command."""
        heading = "With podman, where its settings name the image store"
        command = f"podman run {shlex.quote(place)}"
        yield Use("podman", heading, command, "Command for podman")


def put_in_store(
    reference: Reference, digest: str, images: Sequence[StoredImage]
) -> Iterator[Step]:
    """Yield the steps that make an image known to podman by its name.

    An image that had the name before is found by its digest from then on.

    Args:
        reference: the name that it was pushed as.
        digest: of what was pushed; of the index, if it is one.
        images: one for each platform. The first one gets the name, as there can be one
            only; the others are found by their digests.
    """
    for lock in _LOCKS:
        yield FileAt(lock, b"")
    layers: dict[str, Record] = {}
    for image in images:
        chain: list[str] = []
        stack: list[StoredLayer] = []
        for layer in image.layers:
            chain.insert(0, _layer_id(chain, layer.diff_id))
            stack.insert(0, layer)
            yield from _layer_folder(chain, stack)
            layers[chain[0]] = _layer_record(chain, layer)
        yield from _image_folder(image)
        yield RecordsAt(_LAYERS + b"/layers.json", tuple(map(_text, layers.values())))
    first = default(images)
    records = [
        _image_record(
            image,
            [_by_digest(reference, image.digest)]
            + ([str(reference), _by_digest(reference, digest)] * (image is first)),
        )
        for image in images
    ]
    names = (str(reference), _by_digest(reference, digest))
    yield RecordsAt(_IMAGES + b"/images.json", tuple(map(_text, records)), names)


def take_from_store(reference: Reference) -> Iterator[Step]:
    """Yield the steps after which podman knows no image by a name any more.

    By its digest it is still found.
    """
    yield RecordsAt(_IMAGES + b"/images.json", (), (str(reference),))


def image_id(config_digest: str) -> str:
    """Return podman's name of an image."""
    return config_digest.partition(":")[2]


def _layer_id(below: Sequence[str], diff_id: str) -> str:
    """Return podman's name of a layer, by those below it, highest first."""
    encoded = diff_id.partition(":")[2]
    if not below:
        return encoded
    return hashlib.sha256(f"{below[0]}+{encoded}".encode()).hexdigest()


def _sharded(own: str) -> bytes:
    """Return where the folder of a layer or an image is, from where podman looks."""
    return f"{own[:2]}/{own}".encode()


def _diff(own: str) -> bytes:
    """Return where podman looks for the files of a layer."""
    return b"%s/%s/diff" % (_OVERLAY, _sharded(own))


def _diffs(image: ResolvedImage) -> Iterator[tuple[Descriptor, bytes]]:
    """Yield the layers of an image, lowest first, with where podman looks for each."""
    chain: list[str] = []
    for layer, diff_id in zip(
        image.manifest.layers, image.config.diff_ids, strict=True
    ):
        chain.insert(0, _layer_id(chain, diff_id))
        yield layer, _diff(chain[0])


def _is_directory(dirent: Dirent | None) -> bool:
    return dirent is not None and stat.S_ISDIR(dirent.mode)


def _verify(layer: LayerTree, written: StreamedTree) -> None:
    verify_layer(written, layer)


def _short_path(layer_id: str) -> bytes:
    """Return a path of 29 letters for a layer: mounts take one page of options only."""
    digest = hashlib.sha256(layer_id.encode()).digest()[:16]
    letters = base64.b32encode(digest).decode().rstrip("=")
    return f"{layer_id[:2]}/{letters}".encode()


def _layer_folder(chain: Sequence[str], stack: Sequence[StoredLayer]) -> Iterator[Step]:
    """Yield the folder of the first layer of a chain; the others are below it."""
    own, layer = chain[0], stack[0]
    # An overlay refuses a directory twice (ELOOP), and what a layer has, deletes and
    # hides shows no more of itself from further down.
    highest = {each.digest: number for number, each in reversed([*enumerate(stack)])}
    below = [chain[number] for number in sorted(highest.values())[1:]]
    short, folder = _short_path(own), b"%s/%s" % (_OVERLAY, _sharded(own))
    diff = _diff(own)
    if layer.is_alone:
        tree = b"%s/%s" % (layer_path(layer.digest), LAYERFS)
        yield LinkAt(diff, link_target(diff, tree))
    yield FileAt(folder + b"/link", b"../" + short)
    if below:
        yield FileAt(folder + b"/lower", b":".join(map(_short_path, below)))
    yield LinkAt(b"%s/%s" % (_OVERLAY, short), b"../%s/diff" % own.encode())
    yield LinkAt(b"%s/%s" % (_OVERLAY, own.encode()), _sharded(own))


def _layer_record(chain: Sequence[str], layer: StoredLayer) -> Record:
    # Without sizes, podman would count all files to say how large an image is.
    record: Record = {
        "id": chain[0],
        "compressed-diff-digest": layer.digest,
        "compressed-size": layer.compressed_size,
        "diff-digest": layer.diff_id,
        "diff-size": layer.size,
    }
    return record | ({"parent": chain[1]} if chain[1:] else {})


def _image_folder(image: StoredImage) -> Iterator[Step]:
    own = image_id(image.config_digest)
    folder = b"%s/%s" % (_IMAGES, _sharded(own))
    encoded = base64.b64encode(image.config_digest.encode())
    yield FileAt(folder + b"/manifest", image.manifest)
    yield FileAt(folder + b"/=" + encoded, image.config)
    yield LinkAt(b"%s/%s" % (_IMAGES, own.encode()), _sharded(own))


def _image_record(image: StoredImage, names: Sequence[str]) -> Record:
    chain: list[str] = []
    for layer in image.layers:
        chain.insert(0, _layer_id(chain, layer.diff_id))
    record: Record = {
        "id": image_id(image.config_digest),
        "digest": image.digest,
        "names": sorted(set(names)),
        "layer": chain[0],
    }
    created = _created(image.config)
    return record | ({"created": created} if created else {})


def _created(config: bytes) -> str | None:
    """Return when an image was made; one wrong time would spoil the whole list."""
    try:
        created = Struct.parse(config, "config").text("created")
        moment = datetime.fromisoformat(created)
        return moment.astimezone(UTC).isoformat(timespec="seconds")
    except (WrongJson, ValueError, OverflowError):
        return None


def _by_digest(reference: Reference, digest: str) -> str:
    return f"{reference.name}@{digest}"


def _text(record: Record) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def _stored(
    image: ResolvedImage, building: Building, published: PublishedTree
) -> StoredImage:
    return StoredImage(
        image.manifest_digest,
        image.raw_manifest,
        image.manifest.config.digest,
        image.raw_config,
        [
            StoredLayer(
                layer.digest,
                layer.size,
                diff_id,
                _size(layer.digest, path, building, published),
                layer.digest not in building.apart,
            )
            for (layer, path), diff_id in zip(
                _diffs(image), image.config.diff_ids, strict=True
            )
        ],
    )


def _size(
    digest: str, diff: bytes, building: Building, published: PublishedTree
) -> int:
    """Return the bytes of a layer's files.

    Args:
        digest: of its blob.
        diff: where podman looks for it.
        building: of the image.
        published: what is published already.
    """
    if digest in building.apart:
        made = building.trees.get(diff)
        if made is None:
            return sum(_file_size(dirent) for _, dirent in published.walk(diff))
        directories, top = made.directories, b""
    else:
        made = building.trees.get(layer_path(digest))
        if made is None:
            record = read_document(published, record_path(digest))
            return int(json.loads(record)["size"]) if record is not None else 0
        directories, top = made.directories, LAYERFS
    return sum(
        _file_size(dirent)
        for path, entries in directories.items()
        if not top or path == top or path.startswith(top + b"/")
        for dirent in entries.values()
    )


def _file_size(dirent: Dirent) -> int:
    is_file = stat.S_ISREG(dirent.mode) and dirent.content is not None
    return dirent.content.size if is_file and dirent.content else 0
