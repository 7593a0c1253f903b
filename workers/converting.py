"""From the layers in the registry to one root file system, its content stored.

Layers are fetched side by side, each streamed once: verified, decompressed, its files
stored on the way. Nothing is unpacked onto a disk of ours.
"""

import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Executor, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event, Lock

from workers.cvmfs import Tree
from workers.errors import PermanentError
from workers.images.budget import Budget
from workers.images.content import ContentPool
from workers.images.exact_reader import ByteStream
from workers.images.layer import read_layer
from workers.images.layer_tree import LayerTree
from workers.images.manifest import Descriptor
from workers.images.merge import merge
from workers.images.rejected import ImageRejected
from workers.images.singularity import add_singularity
from workers.ledger import Progress
from workers.plan import ContentSink
from workers.policy import ImageLimits
from workers.registry import RegistryClient
from workers.resolving import ResolvedImage

# More downloads at once gain nothing: decompressing one takes a core.
_LAYERS_AT_ONCE = 3


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
    limits: ImageLimits,
    tell: Callable[[Progress], None],
) -> Tree:
    """Return the root file system of an image; all its content is in the sink.

    Args:
        client: fetches the layers.
        image: pinned by digest.
        sink: takes the content of the files.
        limits: of the policy's rule.
        tell: called often with the progress, from several threads; what it raises
            stops the conversion, and is raised here.

    Raises:
        ImageRejected: a layer is not what its image says, or a limit is exceeded.
    """
    descriptors = image.manifest.layers
    if len(descriptors) > limits.layers:
        raise ImageRejected(
            f"the image has {len(descriptors)} layers, its rule allows {limits.layers}"
        )
    budget = Budget(limits.size_bytes, limits.files)
    with (
        ContentPool(sink, os.cpu_count() or 1) as pool,
        ThreadPoolExecutor(_LAYERS_AT_ONCE, thread_name_prefix="layer") as executor,
    ):
        reader = _LayerReader(client, image, pool, budget, _Meter(descriptors, tell))
        try:
            layers = _read_all(executor, reader.read, len(descriptors))
        finally:
            # Whatever happened here, those who still read find out at their next block.
            reader.meter.stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
    tree = merge(layers)
    add_singularity(tree, image.config, sink.put_bytes)
    return tree


def _read_all(
    executor: Executor, read: Callable[[int], LayerTree], count: int
) -> list[LayerTree]:
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
    pool: ContentPool
    budget: Budget
    meter: _Meter

    def read(self, number: int) -> LayerTree:
        image = self.image
        layer = image.manifest.layers[number]
        try:
            with self.client.blob(image.reference, layer.digest, layer.size) as blob:
                watched = _Watched(blob, self.meter)
                tree = read_layer(watched, self.pool, self.budget)
                while watched.read(1 << 16):
                    pass  # the digest covers what lies behind the tar, too
        except PermanentError as error:
            # Which layer it was is what the author needs to know.
            text = f"layer {number + 1} ({layer.digest[:19]}…): {error}"
            raise ImageRejected(text) from error
        wanted = image.config.diff_ids[number]
        if tree.diff_id != wanted:
            raise ImageRejected(
                f"layer {number + 1} unpacks to {tree.diff_id}, "
                f"its config says {wanted}"
            )
        self.meter.add(layers=1)
        return tree
