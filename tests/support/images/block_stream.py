"""A stream that gives its bytes in blocks of a length of the test's choice."""


class BlockStream:
    """A ``ByteStream`` over bytes in memory.

    Args:
        data: all of it.
        block: length of what one ``read`` gives at most, whatever is asked for.
    """

    def __init__(self, data: bytes, block: int = 1 << 20) -> None:
        self._data = memoryview(data)
        self._block = block
        self._position = 0

    def read(self, size: int, /) -> bytes:
        end = self._position + min(size, self._block)
        data = bytes(self._data[self._position : end])
        self._position += len(data)
        return data
