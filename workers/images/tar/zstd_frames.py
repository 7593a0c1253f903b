"""The frames of a zstd stream, looked at before they are unpacked.

What a frame makes its reader allocate stands in its header, and any frame of a stream
may ask for more than the first. So the stream is followed from frame to frame, block by
block, and passed on unchanged; nothing is unpacked here.

Source: RFC 8878 3.1.1 (frames), 3.1.1.1.2 (window), 3.1.1.2 (blocks), 3.1.2 (skippable
frames).
"""

from collections.abc import Callable, Iterator

from workers.images.tar.exact_reader import ByteStream

_MAGIC = 0xFD2FB528
_SKIPPABLE, _SKIPPABLE_MASK = 0x184D2A50, 0xFFFFFFF0
_MAGIC_SIZE = 4
_DICTIONARY_SIZES = (0, 1, 2, 4)
_CONTENT_SIZES = (0, 2, 4, 8)
_BLOCK_HEADER = 3
_RLE, _RESERVED = 1, 3
_CHECKSUM = 4
_WHOLE = 1 << 17  # of a skippable frame, passed on at once


class ZstdFrames:
    """A stream that asks before each frame whether its window may be had.

    Args:
        source: the compressed stream.
        admit: told the window of each frame, in bytes, before any of it is passed on;
            what it raises ends the reading.
    """

    def __init__(self, source: ByteStream, admit: Callable[[int], None]) -> None:
        self._source = source
        self._admit = admit
        self._held = b""
        self._position = 0
        self._parts = self._follow()

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes, ``b""`` at the end; ``size`` is a wish."""
        del size
        return next(self._parts, b"")

    def _follow(self) -> Iterator[bytes]:
        while magic := self._take(_MAGIC_SIZE):
            number = int.from_bytes(magic, "little")
            if number == _MAGIC:
                yield from self._frame(magic)
            elif number & _SKIPPABLE_MASK == _SKIPPABLE:
                size = self._take(4)
                yield magic + size
                yield from self._passed(int.from_bytes(size, "little"))
            else:
                # No frame: whoever unpacks the stream says so.
                yield magic
                yield from self._passed(None)

    def _frame(self, magic: bytes) -> Iterator[bytes]:
        descriptor = self._take(1)
        if not descriptor:
            yield magic
            return
        [flags] = descriptor
        is_single_segment = bool(flags & 0x20)
        content_size = _CONTENT_SIZES[flags >> 6] or int(is_single_segment)
        window = b"" if is_single_segment else self._take(1)
        dictionary = self._take(_DICTIONARY_SIZES[flags & 3])
        content = self._take(content_size)
        self._admit(_window(window, content))
        yield magic + descriptor + window + dictionary + content
        is_last = False
        while not is_last and (block := self._take(_BLOCK_HEADER)):
            header = int.from_bytes(block, "little")
            is_last, kind = bool(header & 1), header >> 1 & 3
            if kind == _RESERVED:
                yield block
                yield from self._passed(None)
                return
            # One byte that is repeated; else so many as are said, 128 KiB at most in
            # what a decompressor lets pass.
            yield block + self._take(1 if kind == _RLE else header >> 3)
        if flags & 4:
            yield self._take(_CHECKSUM)

    def _passed(self, size: int | None) -> Iterator[bytes]:
        """Yield so many bytes, or all that are left."""
        while size is None or size:
            part = self._take(_WHOLE if size is None else min(size, _WHOLE))
            if not part:
                return
            if size is not None:
                size -= len(part)
            yield part

    def _take(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end of the stream.

        That a stream is cut short is for its digest to tell.
        """
        end = self._position + size
        if end <= len(self._held):
            data = self._held[self._position : end]
            self._position = end
            return data
        parts = [self._held[self._position :]]
        missing = end - len(self._held)
        while missing:
            self._held = self._source.read(_WHOLE)
            self._position = min(missing, len(self._held))
            if not self._held:
                break
            parts.append(self._held[: self._position])
            missing -= self._position
        return b"".join(parts)


def _window(window: bytes, content: bytes) -> int:
    """Return the bytes that unpacking a frame needs at hand.

    Args:
        window: the descriptor; of frames that have none the content is the window.
        content: the size of the content, as it stands there.
    """
    if not window:
        return int.from_bytes(content, "little")  # 256 more, of two bytes: no matter
    base = 1 << 10 + (window[0] >> 3)
    return base + (base >> 3) * (window[0] & 7)
