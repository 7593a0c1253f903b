"""Compressed layers as streams of their uncompressed bytes.

What a layer is compressed with is read from its first bytes, as containerd does it,
because registries hold layers whose media type says otherwise; the diff id proves the
result either way. Gzip may have several members (eStargz, pigz), zstd several frames
and skippable ones between them (zstd:chunked); all are read to the end.

Source: RFC 1952 2.2 (members), RFC 8878 3.1 (frames, skippable frames).
"""

import hashlib
from collections.abc import Iterator
from typing import IO, cast

import zstandard
from isal import igzip_lib

from workers.errors import PermanentError
from workers.images.tar import ByteStream

# Large enough to keep the per-call cost out of sight, small enough for a few at once.
_COMPRESSED_BLOCK = 1 << 18
_PLAIN_BLOCK = 1 << 20
# isal's type information calls this class an instance.
_IsalError = cast("type[Exception]", igzip_lib.IsalError)
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = frozenset(bytes([0x50 + n, 0x2A, 0x4D, 0x18]) for n in range(16))


class DamagedLayer(PermanentError):
    """A layer whose compressed stream is broken though its digest is right."""


class LayerStream:
    """Reads the uncompressed tar of a layer and hashes it on the way.

    Attributes:
        size: uncompressed bytes handed out so far.
    """

    def __init__(self, blob: ByteStream) -> None:
        self._blocks = _plain_blocks(blob)
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, _size: int, /) -> bytes:
        """Return the next block, whatever its length; ``b""`` at the end.

        Raises:
            DamagedLayer: the compressed stream is cut short or corrupt.
        """
        block = next(self._blocks, b"")
        self._hash.update(block)
        self.size += len(block)
        return block

    @property
    def diff_id(self) -> str:
        """Digest of what was read; of the whole layer once ``read`` gave ``b""``."""
        return f"sha256:{self._hash.hexdigest()}"


def _plain_blocks(blob: ByteStream) -> Iterator[bytes]:
    head = b""
    while len(head) < len(_ZSTD_MAGIC):
        more = blob.read(_COMPRESSED_BLOCK)
        if not more:
            break
        head += more
    compressed = _Pushback(blob, head)
    if head.startswith(_GZIP_MAGIC):
        return _gunzip(compressed)
    if head[:4] == _ZSTD_MAGIC or head[:4] in _ZSTD_SKIPPABLE:
        return _unzstd(compressed)
    return iter(lambda: compressed.read(_PLAIN_BLOCK), b"")


class _Pushback:
    """A stream whose first bytes have been looked at."""

    def __init__(self, stream: ByteStream, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int, /) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._stream.read(size)


def _gunzip(blob: ByteStream) -> Iterator[bytes]:
    data = blob.read(_COMPRESSED_BLOCK)
    while True:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            if not data and member.needs_input:
                data = blob.read(_COMPRESSED_BLOCK)
                if not data:
                    raise DamagedLayer("gzip: the layer is cut short")
            try:
                # The bound keeps a bomb from filling the memory.
                plain = member.decompress(data, _PLAIN_BLOCK)
            except _IsalError as error:
                raise DamagedLayer(f"gzip: the layer is corrupt ({error})") from error
            data = b""
            if plain:
                yield plain
        data = member.unused_data
        while not data.strip(b"\0"):  # padding behind the last member is legal
            data = blob.read(_COMPRESSED_BLOCK)
            if not data:
                return


def _unzstd(blob: ByteStream) -> Iterator[bytes]:
    # A stream that is cut short is not noticed here: its blob digest or its diff id
    # cannot be right then, and both are verified.
    # A window above 128 MiB is not for layers; zstd itself refuses it by default.
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    with decompressor.stream_reader(
        cast("IO[bytes]", blob), read_across_frames=True
    ) as reader:
        while True:
            try:
                plain = reader.read(_PLAIN_BLOCK)
            except zstandard.ZstdError as error:
                raise DamagedLayer(f"zstd: the layer is corrupt ({error})") from error
            if not plain:
                return
            yield plain
