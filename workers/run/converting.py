"""The layers of an image, read side by side, their content stored.

A layer that the repository holds is read back from its catalog. The others are fetched
side by side, each streamed once: verified, decompressed, its files stored on the way.
Nothing is unpacked onto a disk of ours.
"""

import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Executor, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event, Lock

from workers.formats.format import ConvertedImage
from workers.formats.overlay_layer import OverlayForm
from workers.images.layers.budget import Budget, check_layers
from workers.images.layers.content import ContentPool
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.read import read_layer
from workers.images.manifest import Descriptor
from workers.images.rejected import ImageRejected
from workers.images.resolved import ResolvedImage
from workers.images.tar.decompress import DamagedLayer
from workers.images.tar.exact_reader import ByteStream, CutShort
from workers.images.tar.fields import DamagedTar
from workers.ledger import Progress
from workers.policy import ImageLimits
from workers.publishing.publisher import ContentSink
from workers.registry import RegistryClient

# More downloads at once gain nothing: decompressing one takes a core.
_LAYERS_AT_ONCE = 3
# Nor do more threads that store what those read; and a piece of memory waits for each.
_MOST_STORING = 8

# Returns a published layer by the digest of its blob, if there is one.
Published = Callable[[str], OverlayForm | None]
# A layer, and how the repository holds it.
_Found = tuple[LayerTree, OverlayForm | None]


class Shelf:
    """The layers that need not be made again, by the digest of their blobs.

    Args:
        published: has those of the repository. Those that are made for one platform of
            an image are here for its other platforms, too.
    """

    def __init__(self, published: Published) -> None:
        self._published = published
        self._made: dict[str, LayerTree] = {}

    def get(self, digest: str) -> _Found | None:
        """Return a layer, if it is here."""
        if (made := self._made.get(digest)) is not None:
            return made, None
        form = self._published(digest)
        return None if form is None else (form.layer, form)

    def put(self, digest: str, layer: LayerTree) -> None:
        """Keep a layer that was made."""
        self._made[digest] = layer


class Stopped(Exception):
    """Another layer of the image failed; this one need not go on."""


class _Watched:
    """A blob that reports what is read from it, and stops when told."""

    def __init__(self, blob: ByteStream, meter: "_Meter") -> None:
        self._blob = blob
        self._meter = meter

    def read(self, size: int, /) -> bytes:
        data = self._blob.read(size)
        self._meter.add(size=len(data))
        return data


class _Meter:
    """Adds up the progress of layers that are read side by side."""

    def __init__(
        self, layers: tuple[Descriptor, ...], tell: Callable[[Progress], None]
    ) -> None:
        self._tell = tell
        self._lock = Lock()
        self.stop = Event()
        total = sum(layer.size for layer in layers)
        self._progress = Progress(0, len(layers), 0, total)

    def add(self, *, layers: int = 0, size: int = 0) -> None:
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self._progress = replace(
                self._progress,
                layers_done=self._progress.layers_done + layers,
                bytes_done=self._progress.bytes_done + size,
            )
            # In here, so that nobody tells of less after more was told.
            self._tell(self._progress)


def convert(
    client: RegistryClient,
    image: ResolvedImage,
    sink: ContentSink,
    shelf: Shelf,
    limits: ImageLimits,
    tell: Callable[[Progress], None],
) -> ConvertedImage:
    """Return the layers of an image, all their content stored.

    What the repository holds is neither fetched nor written again.

    Args:
        client: fetches the layers.
        image: pinned by digest.
        sink: takes the content.
        shelf: has the layers that need not be made again.
        limits: of the rule that decided.
        tell: called often with the progress, from several threads; what it raises
            stops the conversion, and is raised here.

    Raises:
        ImageRejected: a layer is not what its image says, or a limit is exceeded.
    """
    descriptors = image.manifest.layers
    check_layers(len(descriptors), limits.layers)
    with (
        ContentPool(sink, min(os.cpu_count() or 1, _MOST_STORING)) as pool,
        ThreadPoolExecutor(_LAYERS_AT_ONCE, thread_name_prefix="layer") as executor,
    ):
        meter = _Meter(descriptors, tell)
        # Asked of what is not read, too: a hole is no byte of a blob.
        budget = Budget(limits.size_bytes, limits.files, meter.add)
        reader = _LayerReader(client, image, shelf, pool, budget, meter)
        try:
            found = _read_all(executor, reader.read, len(descriptors))
        finally:
            # Whatever happened here, those who still read find out at their next block.
            reader.meter.stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
    return ConvertedImage(
        image,
        [layer for layer, _ in found],
        [form for _, form in found],
        budget.is_large,
    )


def _mend(layer: Descriptor) -> str:
    """Return what helps where a layer is not what its config says."""
    if "zstd" in layer.media_type:
        # podman 4 wrote so: https://github.com/containers/storage/issues/1771.
        return (
            "older podman writes such layers as zstd:chunked, push it with gzip or "
            "zstd, or a newer podman"
        )
    return "build the image again"


def no_layers(_digest: str) -> None:
    """Have no layer: for who wants everything made again."""


def _read_all(
    executor: Executor, read: Callable[[int], _Found], count: int
) -> list[_Found]:
    """Return all layers, or raise as soon as one of them fails."""
    futures = [executor.submit(read, number) for number in range(count)]
    wait(futures, return_when=FIRST_EXCEPTION)
    for future in futures:
        if future.done():
            future.result()
    return [future.result() for future in futures]


@dataclass(frozen=True, slots=True)
class _LayerReader:
    """Reads the layers of one image, from several threads."""

    client: RegistryClient
    image: ResolvedImage
    shelf: Shelf
    pool: ContentPool
    budget: Budget
    meter: _Meter

    def read(self, number: int) -> _Found:
        """Return a layer, made if it is nowhere."""
        image = self.image
        layer = image.manifest.layers[number]
        found = self.shelf.get(layer.digest)
        if found is not None and found[0].diff_id == image.config.diff_ids[number]:
            known, _ = found
            self.budget.spend_layer(known.size, known.entries, known.metadata)
            self._pack(known)
            self.meter.add(layers=1, size=layer.size)
            return found
        try:
            with self.client.blob(image.reference, layer.digest, layer.size) as blob:
                watched = _Watched(blob, self.meter)
                tree = read_layer(watched, self.pool, self.budget)
                while watched.read(1 << 16):
                    pass  # the digest covers what lies behind the tar, too
        except (ImageRejected, CutShort, DamagedLayer, DamagedTar) as error:
            # Which layer it was is what the author needs to know.
            mend = "" if isinstance(error, ImageRejected) else ": build the image again"
            text = f"layer {number + 1} ({layer.digest[:19]}…): {error}{mend}"
            raise ImageRejected(text) from error
        wanted = image.config.diff_ids[number]
        if tree.diff_id != wanted:
            raise ImageRejected(
                f"layer {number + 1} unpacks to {tree.diff_id}, "
                f"its config says {wanted}: {_mend(layer)}"
            )
        self._pack(tree)
        self.meter.add(layers=1)
        self.shelf.put(layer.digest, tree)
        return tree, None

    def _pack(self, layer: LayerTree) -> None:
        if self.budget.is_large:
            layer.tree.directories.pack()
