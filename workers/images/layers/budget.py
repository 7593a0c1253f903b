"""How much one image may still take, while its layers are being read.

What an image announces is no bound: a gzip bomb announces little. So everything is
counted as it comes, over all layers together, and reading stops at once.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from threading import Lock
from typing import Self

from workers.images.layers.steps import always_wanted
from workers.images.rejected import ImageRejected, printable

# Headers, padding and PAX records of an entry in a stream: two blocks as a rule.
_OVERHEAD_OF_FILE = 4096
_OVERHEAD_OF_IMAGE = 1 << 24
# Names, link targets and xattrs are what is kept in memory, each with what it costs
# there. An image of a million files needs most of it.
_METADATA_BYTES = 3 << 25
_XATTR_BYTES = 128  # of an attribute, besides its name and its value
_XATTRS = 1 << 20
# Extents of sparse files, empty ones too, cost time.
_EXTENTS = 1 << 20
# PAX records and long names cost time, too. The usual take a hundred bytes.
_HEADERS_OF_FILE = 512
_HEADERS_OF_IMAGE = 1 << 24

MOST_IN_DIRECTORY = 120_000
"""Entries of one directory, deletions too: no catalog is cut in the middle of one, and
with more of them whoever reads or writes one takes more than 300 MB."""

USUAL_FILES = 1 << 16
"""Of larger images the directories are packed while they are not used. A usual one
stays as it is, in 30 MB, and saves the time of packing."""


@dataclass(slots=True)
class _Left:
    """What is left of the limits of one image."""

    size: int
    files: int
    metadata: int
    xattrs: int
    extents: int
    headers: int
    stream: int


class Budget:
    """What is left of the limits of one image; safe to use from many threads.

    Nothing gives any of it back: what is negative is refused.

    Args:
        size_bytes: of the content of all files, holes included.
        files: members of all layers.
        still_wanted: asked again and again while the layers are being read, from any
            of the threads; what it raises ends the reading.

    Attributes:
        metadata: bytes of names and attributes that were taken by this.
    """

    def __init__(
        self,
        size_bytes: int,
        files: int,
        still_wanted: Callable[[], None] = always_wanted,
    ) -> None:
        self.still_wanted = still_wanted
        self._limits = (size_bytes, files)
        self._left = _Left(
            size_bytes,
            files,
            _METADATA_BYTES,
            _XATTRS,
            _EXTENTS,
            headers=files * _HEADERS_OF_FILE + _HEADERS_OF_IMAGE,
            stream=size_bytes + files * _OVERHEAD_OF_FILE + _OVERHEAD_OF_IMAGE,
        )
        self._lock = Lock()
        self.metadata = 0

    def of_layer(self) -> Self:
        """Return the same budget, which counts what one layer takes of it."""
        own = copy(self)
        own.metadata = 0
        return own

    def spend_file(self, size: int, metadata: int) -> None:
        """Take one member: bytes of its content, and bytes of its names."""
        if size < 0 or metadata < 0:
            _refuse_negative(min(size, metadata))
        with self._lock:
            self._left.files -= 1
            self._left.size -= size
            self._left.metadata -= metadata
            self.metadata += metadata
            if (
                self._left.files >= 0
                and self._left.size >= 0
                and self._left.metadata >= 0
            ):
                return
        size_limit, files_limit = self._limits
        if self._left.files < 0:
            raise ImageRejected(
                f"the image has more than {files_limit} files, all that its rule allows"
            )
        if self._left.size < 0:
            raise ImageRejected(
                f"the image is larger than {size_limit} bytes, all that its rule allows"
            )
        self._reject_metadata()

    @property
    def is_large(self) -> bool:
        """Whether the layers so far have more than a usual image has."""
        return (
            self._limits[1] - self._left.files > USUAL_FILES
            or _XATTRS - self._left.xattrs > USUAL_FILES
        )

    def spend_layer(self, size: int, files: int, metadata: int = 0) -> None:
        """Take a whole layer that was read before.

        Args:
            size: bytes of content.
            files: members.
            metadata: as was counted of it, if it is to be held in memory.
        """
        _check(size, files, metadata)
        with self._lock:
            self._left.files -= files - 1
        self.spend_file(size, metadata)

    def spend_metadata(self, size: int) -> None:
        """Take bytes of names that no member has."""
        _check(size)
        with self._lock:
            self._left.metadata -= size
            self.metadata += size
            if self._left.metadata >= 0:
                return
        self._reject_metadata()

    def spend_xattrs(self, count: int, size: int) -> None:
        """Take attributes of one member, and bytes of their names and values."""
        _check(count, size)
        with self._lock:
            self._left.xattrs -= count
        if self._left.xattrs < 0:
            raise ImageRejected(
                f"the image's files have more than {_XATTRS} extended attributes"
            )
        self.spend_metadata(count * _XATTR_BYTES + size)

    def spend_extents(self, count: int) -> None:
        """Take extents of a sparse file, those that are empty included."""
        _check(count)
        with self._lock:
            self._left.extents -= count
        if self._left.extents < 0:
            raise ImageRejected(
                f"the image's sparse files have more than {_EXTENTS} extents"
            )

    def spend_header(self, size: int) -> None:
        """Take bytes of PAX records or of a long name."""
        if size < 0:
            _refuse_negative(size)
        with self._lock:
            self._left.headers -= size
        if self._left.headers < 0:
            raise ImageRejected(
                "the image's PAX records and long names take more than "
                f"{_HEADERS_OF_FILE} bytes for each file that its rule allows"
            )

    def spend_stream(self, size: int) -> None:
        """Take bytes of an uncompressed layer, and ask whether to go on."""
        _check(size)
        self.still_wanted()
        with self._lock:
            self._left.stream -= size
            if self._left.stream >= 0:
                return
        raise ImageRejected(
            f"the image's layers unpack to far more than {self._limits[0]} bytes"
        )

    def _reject_metadata(self) -> None:
        raise ImageRejected(
            f"the image's names and attributes take more than {_METADATA_BYTES} bytes"
        )


def _check(*amounts: int) -> None:
    if min(amounts) < 0:
        _refuse_negative(min(amounts))


def _refuse_negative(size: int) -> None:
    raise ImageRejected(f"a layer has a size of {size} bytes")


def check_directory(path: bytes, entries: int) -> None:
    """Refuse an image with a directory of too many entries."""
    if entries > MOST_IN_DIRECTORY:
        raise ImageRejected(
            f"the image has more than {MOST_IN_DIRECTORY} entries in the directory "
            f"{printable(path)}: spread them over several"
        )


def check_layers(layers: int, allowed: int) -> None:
    """Refuse an image of more layers than its rule allows."""
    if layers > allowed:
        raise ImageRejected(f"the image has {layers} layers, its rule allows {allowed}")
