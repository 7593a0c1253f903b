"""Compressed layers as streams of their uncompressed bytes.

What a layer is compressed with is read from its first bytes, as containerd does it,
because registries hold layers whose media type says otherwise; the diff id proves the
result either way. Gzip may have several members (eStargz, pigz), zstd several frames
and skippable ones between them (zstd:chunked); all are read to the end.

Source: RFC 1952 2.2 (members), RFC 8878 3.1 (frames, skippable frames).
"""

import gzip
import hashlib
from collections.abc import Callable, Generator, Iterator
from threading import Semaphore
from typing import IO, Self, cast

import zstandard
from isal import igzip, isal_zlib

from workers.errors import PermanentError
from workers.images.tar.exact_reader import ByteStream
from workers.images.tar.zstd_frames import ZstdFrames

# Large enough to keep the per-call cost out of sight, small enough for a few at once.
_COMPRESSED_BLOCK = 1 << 18
# No more is unpacked at once, so that a bomb cannot fill the memory.
_PLAIN_BLOCK = 1 << 20
# What ``zstd --long`` takes; a larger one zstd itself refuses by default.
_LARGEST_ZSTD_WINDOW = 1 << 27
# What ``zstd -19`` takes. Of layers with more only one is unpacked at a time, in all of
# the process: three of 128 MiB side by side would take more than all else together.
_USUAL_ZSTD_WINDOW = 1 << 23
_large_window = Semaphore()
_LOOK_SECONDS = 0.5
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

    A ``with`` block lets go of what the decompressor holds, however it ends.

    Args:
        blob: the layer as it is stored.
        spend: told the length of each block before it is handed out, a mebibyte at
            most, and often 0 while nothing comes; what it raises ends the reading.
    """

    def __init__(self, blob: ByteStream, spend: Callable[[int], None]) -> None:
        self._blocks = _plain_blocks(blob, spend)
        self._spend = spend
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()

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


_Blocks = Generator[bytes, None, None]


def _plain_blocks(blob: ByteStream, spend: Callable[[int], None]) -> _Blocks:
    head = b""
    while len(head) < _MAGIC_LENGTH and (more := blob.read(_COMPRESSED_BLOCK)):
        head += more
    whole = _Pushback(blob, head)
    if head.startswith(_GZIP_MAGIC):
        yield from _gunzip(whole)
        return
    if head[:4] in _ZSTD_MAGICS:
        yield from _unzstd(whole, spend)
        return
    for magic, name in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise DamagedLayer(
                f"the layer is compressed with {name}, which no image may be: "
                "gzip and zstd are read"
            )
    yield from iter(lambda: whole.read(_PLAIN_BLOCK), b"")


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
        except (gzip.BadGzipFile, _IsalError, OverflowError) as error:
            # The last is a header that is longer than what isal reads at once.
            why = str(error).partition(" (b'")[0]  # Python would show bytes
            raise DamagedLayer(f"gzip: the layer is corrupt ({why})") from error
        if not plain:
            return
        yield plain


def _unzstd(blob: ByteStream, spend: Callable[[int], None]) -> Iterator[bytes]:
    with _Windows(spend) as windows:
        # In a generator of its own, which has let go of all it held before the window
        # is given back.
        yield from _unframed(ZstdFrames(blob, windows.admit))


def _unframed(frames: ZstdFrames) -> Iterator[bytes]:
    # A stream that is cut short is not noticed here: its blob digest or its diff id
    # cannot be right then, and both are verified.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW)
    reader = decompressor.stream_reader(
        cast("IO[bytes]", frames), read_across_frames=True
    )
    while True:
        try:
            plain = reader.read(_PLAIN_BLOCK)
        except zstandard.ZstdError as error:
            raise DamagedLayer(f"zstd: the layer is corrupt ({error})") from error
        if not plain:
            return
        yield plain


class _Windows:
    """Lets one layer after the other have a large window, for a ``with`` block each.

    Args:
        spend: asked while another layer has it.
    """

    def __init__(self, spend: Callable[[int], None]) -> None:
        self._spend = spend
        self._is_large = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_large:
            _large_window.release()

    def admit(self, window: int) -> None:
        """Wait until a window of so many bytes may be had."""
        if window > _LARGEST_ZSTD_WINDOW:
            raise DamagedLayer(
                f"zstd: the layer needs a window of {window} bytes, and "
                f"{_LARGEST_ZSTD_WINDOW} are allowed: compress it without --ultra, or "
                "with --long=27 at most"
            )
        if window <= _USUAL_ZSTD_WINDOW or self._is_large:
            return
        while not _large_window.acquire(timeout=_LOOK_SECONDS):
            self._spend(0)
        self._is_large = True
