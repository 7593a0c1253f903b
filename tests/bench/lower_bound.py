"""The floor: what no converter of layers can do without (design section 7).

Inflate the layers, hash what is compressed and what is not (the blob's digest and the
diff id), deflate it again at ISA-L's level 3 and hash that (the content hash). On all
cores, in blocks that are large enough to keep Python out of it; no files, no tar, no
catalog. It stays this, whatever the product chooses.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore

from isal import igzip_lib, isal_zlib

_COMPRESSED_BLOCK = 1 << 18
_PLAIN_BLOCK = 1 << 20
_LEVEL = 3
_WAITING = 8


@dataclass(frozen=True, slots=True)
class Floor:
    """What it took.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of all cores together.
        compressed: bytes of the layers.
        plain: bytes of their tars.
    """

    seconds: float
    cpu_seconds: float
    compressed: int
    plain: int


def measure_floor(layers: Sequence[Path]) -> Floor:
    """Do it once with the gzipped layers of an image."""
    blobs = [layer.read_bytes() for layer in layers]
    cores = len(os.sched_getaffinity(0))
    started, cpu_started = time.perf_counter(), time.process_time()
    slots = BoundedSemaphore(cores + _WAITING)
    with (
        ThreadPoolExecutor(cores) as deflating,
        ThreadPoolExecutor(len(blobs)) as inflating,
    ):

        def inflate(blob: bytes) -> int:
            compressed_hash, plain_hash = hashlib.sha256(), hashlib.sha256()
            plain = 0
            decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            offset = 0
            while not decompressor.eof:
                piece = b""
                if decompressor.needs_input:
                    piece = blob[offset : offset + _COMPRESSED_BLOCK]
                    offset += len(piece)
                    compressed_hash.update(piece)
                block = decompressor.decompress(piece, _PLAIN_BLOCK)
                plain_hash.update(block)
                plain += len(block)
                slots.acquire()
                deflating.submit(_deflate, block).add_done_callback(
                    lambda _: slots.release()
                )
            return plain

        plain = sum(inflating.map(inflate, blobs))
    return Floor(
        time.perf_counter() - started,
        time.process_time() - cpu_started,
        sum(map(len, blobs)),
        plain,
    )


def _deflate(block: bytes) -> bytes:
    packed = isal_zlib.compress(block, _LEVEL)
    return hashlib.sha1(packed, usedforsecurity=False).digest()
