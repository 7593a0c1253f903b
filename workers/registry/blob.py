"""A blob as a stream that vouches for what it hands out."""

import io


class BlobStream(io.RawIOBase):
    """The bytes of one blob, verified at their end."""

    def readable(self) -> bool:
        """Answer as every stream that can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; ``b""`` at the end."""
        raise NotImplementedError
