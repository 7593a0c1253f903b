"""Exact numbers of bytes out of a stream that comes in blocks of any length."""

from typing import Protocol

from workers.errors import PermanentError

_BLOCK = 1 << 20


class CutShort(PermanentError):
    """A stream that ends before all that it announced has come."""

    is_open = True


class ByteStream(Protocol):
    """What this room reads from; ``read`` gives ``b""`` only at the end."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, as many as are at hand; ``size`` is a wish."""


class ExactReader:
    """Reads a stream in blocks and hands out just as many bytes as are asked for."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._block = b""
        self._position = 0

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes.

        Raises:
            CutShort: there are fewer.
        """
        end = self._position + size
        if end <= len(self._block):
            data = self._block[self._position : end]
            self._position = end
            return data
        data = self._gather(size)
        if len(data) < size:
            raise CutShort("the layer ends in the middle of an entry")
        return data

    def take_or_end(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, or ``b""`` if the stream ends right here.

        Raises:
            CutShort: there are some, but fewer.
        """
        end = self._position + size
        if end <= len(self._block):
            data = self._block[self._position : end]
            self._position = end
            return data
        data = self._gather(size)
        if data and len(data) < size:
            raise CutShort("the layer ends in the middle of an entry")
        return data

    def skip(self, size: int) -> None:
        """Pass over exactly ``size`` bytes.

        Raises:
            CutShort: there are fewer.
        """
        while size > (here := len(self._block) - self._position):
            size -= here
            if not self._next_block():
                raise CutShort("the layer ends in the middle of an entry")
        self._position += size

    def skip_padding(self, size: int) -> None:
        """Pass over ``size`` bytes, or to the end of the stream if it comes before."""
        while size > (here := len(self._block) - self._position):
            size -= here
            if not self._next_block():
                return
        self._position += size

    def drain(self) -> None:
        """Read the stream to its end."""
        while self._next_block():
            pass

    def _gather(self, size: int) -> bytes:
        """Return ``size`` bytes, or fewer at the end."""
        parts = []
        while True:
            part = self._block[self._position : self._position + size]
            self._position += len(part)
            parts.append(part)
            size -= len(part)
            if not size or not self._next_block():
                return b"".join(parts) if len(parts) > 1 else part

    def _next_block(self) -> bool:
        self._block = self._stream.read(_BLOCK)
        self._position = 0
        return bool(self._block)
