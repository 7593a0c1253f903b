"""How much one image may still take, while its layers are being read.

What an image announces is no bound: a gzip bomb announces little. So everything is
counted as it comes, over all layers together, and reading stops at once.
"""

from threading import Lock

from workers.images.rejected import ImageRejected

# Headers, padding and PAX records of an entry in a stream: two blocks as a rule.
_OVERHEAD_OF_FILE = 4096
_OVERHEAD_OF_IMAGE = 1 << 24
# Names, link targets and xattrs are what is kept in memory. An image of a million files
# needs half of it.
_METADATA_BYTES = 1 << 28

USUAL_FILES = 1 << 16
"""Of larger images the directories are packed while they are not used. A usual one
stays as it is, in 30 MB, and saves the time of packing."""


class Budget:
    """What is left of the limits of one image; safe to use from many threads.

    Args:
        size_bytes: of the content of all files, holes included.
        files: members of all layers.
    """

    def __init__(self, size_bytes: int, files: int) -> None:
        self._limits = (size_bytes, files)
        self._size = size_bytes
        self._files = files
        self._metadata = _METADATA_BYTES
        self._stream = size_bytes + files * _OVERHEAD_OF_FILE + _OVERHEAD_OF_IMAGE
        self._lock = Lock()

    def spend_file(self, size: int, metadata: int) -> None:
        """Take one member: bytes of its content, and bytes of its names and xattrs."""
        with self._lock:
            self._files -= 1
            self._size -= size
            self._metadata -= metadata
            if self._files >= 0 and self._size >= 0 and self._metadata >= 0:
                return
        size_limit, files_limit = self._limits
        if self._files < 0:
            raise ImageRejected(
                f"the image has more than {files_limit} files, all that its rule allows"
            )
        if self._size < 0:
            raise ImageRejected(
                f"the image is larger than {size_limit} bytes, all that its rule allows"
            )
        self._reject_metadata()

    @property
    def is_large(self) -> bool:
        """Whether the layers so far have more members than a usual image has."""
        return self._limits[1] - self._files > USUAL_FILES

    def spend_layer(self, size: int, files: int) -> None:
        """Take a whole layer that was read before: bytes of content, and members."""
        with self._lock:
            self._files -= files - 1
        self.spend_file(size, 0)

    def spend_metadata(self, size: int) -> None:
        """Take bytes of names that no member has."""
        with self._lock:
            self._metadata -= size
            if self._metadata >= 0:
                return
        self._reject_metadata()

    def spend_stream(self, size: int) -> None:
        """Take bytes of an uncompressed layer."""
        with self._lock:
            self._stream -= size
            if self._stream >= 0:
                return
        raise ImageRejected(
            f"the image's layers unpack to far more than {self._limits[0]} bytes"
        )

    def _reject_metadata(self) -> None:
        raise ImageRejected(
            f"the image's names and attributes take more than {_METADATA_BYTES} bytes"
        )


def check_layers(layers: int, allowed: int) -> None:
    """Refuse an image of more layers than its rule allows."""
    if layers > allowed:
        raise ImageRejected(f"the image has {layers} layers, its rule allows {allowed}")
