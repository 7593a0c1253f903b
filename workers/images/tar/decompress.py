"""Compressed layers as streams of their uncompressed bytes.

What a layer is compressed with is read from its first bytes, as containerd does it,
because registries hold layers whose media type says otherwise; the diff id proves the
result either way. Gzip may have several members (eStargz, pigz), zstd several frames
and skippable ones between them (zstd:chunked); all are read to the end.

Source: RFC 1952 2.2 (members), RFC 8878 3.1 (frames, skippable frames).
"""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from typing import IO, cast

import zstandard
from isal import igzip, isal_zlib

from workers.errors import PermanentError
from workers.images.tar.exact_reader import ByteStream

# Large enough to keep the per-call cost out of sight, small enough for a few at once.
_COMPRESSED_BLOCK = 1 << 18
# No more is unpacked at once, so that a bomb cannot fill the memory.
_PLAIN_BLOCK = 1 << 20
# A window above 128 MiB is not for layers; zstd itself refuses it by default.
_LARGEST_ZSTD_WINDOW = 1 << 27
# isal's type information calls this class an instance.
_IsalError = cast("type[Exception]", isal_zlib.IsalError)

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGICS = frozenset(
    {b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n, 0x2A, 0x4D, 0x18]) for n in range(16))}
)
_MAGIC_LENGTH = 6
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}


class DamagedLayer(PermanentError):
    """A layer whose compressed stream is broken though its digest is right."""

    is_open = True


class LayerStream:
    """Reads the uncompressed tar of a layer and hashes it on the way.

    Args:
        blob: the layer as it is stored.
        spend: told the length of each block before it is handed out; what it raises
            ends the reading.
    """

    def __init__(self, blob: ByteStream, spend: Callable[[int], None]) -> None:
        self._blocks = _plain_blocks(blob)
        self._spend = spend
        self._hash = hashlib.sha256()

    def read(self, _size: int, /) -> bytes:
        """Return the next block, whatever its length; ``b""`` at the end.

        Raises:
            DamagedLayer: the compressed stream is cut short or corrupt.
        """
        block = next(self._blocks, b"")
        self._spend(len(block))
        self._hash.update(block)
        return block

    @property
    def diff_id(self) -> str:
        """Digest of what was read; of the whole layer once ``read`` gave ``b""``."""
        return f"sha256:{self._hash.hexdigest()}"


def _plain_blocks(blob: ByteStream) -> Iterator[bytes]:
    head = b""
    while len(head) < _MAGIC_LENGTH and (more := blob.read(_COMPRESSED_BLOCK)):
        head += more
    whole = _Pushback(blob, head)
    if head.startswith(_GZIP_MAGIC):
        return _gunzip(whole)
    if head[:4] in _ZSTD_MAGICS:
        return _unzstd(whole)
    for magic, name in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise DamagedLayer(
                f"the layer is compressed with {name}, which no image may be: "
                "gzip and zstd are read"
            )
    return iter(lambda: whole.read(_PLAIN_BLOCK), b"")


class _Pushback:
    """A stream whose first bytes have been looked at."""

    def __init__(self, stream: ByteStream, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = _COMPRESSED_BLOCK, /) -> bytes:
        data = self._head or self._stream.read(size)
        self._head = data[size:]
        return data[:size]

    def readinto(self, buffer: memoryview, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _gunzip(blob: ByteStream) -> Iterator[bytes]:
    file = igzip.IGzipFile(  # type: ignore[no-untyped-call]  # isal says no types here
        fileobj=blob, mode="rb"
    )
    while True:
        try:
            plain = file.read(_PLAIN_BLOCK)
        except EOFError as error:
            raise DamagedLayer("gzip: the layer is cut short") from error
        except (gzip.BadGzipFile, _IsalError) as error:
            raise DamagedLayer(f"gzip: the layer is corrupt ({error})") from error
        if not plain:
            return
        yield plain


def _unzstd(blob: ByteStream) -> Iterator[bytes]:
    # A stream that is cut short is not noticed here: its blob digest or its diff id
    # cannot be right then, and both are verified.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW)
    reader = decompressor.stream_reader(
        cast("IO[bytes]", blob), read_across_frames=True
    )
    while True:
        try:
            plain = reader.read(_PLAIN_BLOCK)
        except zstandard.ZstdError as error:
            raise DamagedLayer(f"zstd: the layer is corrupt ({error})") from error
        if not plain:
            return
        yield plain
