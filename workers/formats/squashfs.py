"""An image as one squashfs file, for those who mount images as files.

It is made of the tree that is about to be published, its contents read back from where
they were stored, and goes where all content goes. On the way it lies in a file without
a name, which nobody has to clean up.

The same image gives the same file, whether its layers were fetched or read back. (Only
hard links to files of lower layers, as no builder makes them, are known in one case and
copies in the other.)
"""

import os
from collections.abc import Iterable, Iterator
from functools import partial
from tempfile import TemporaryFile
from typing import BinaryIO

from workers.archives.entries import prepared
from workers.archives.squashfs import can_squash, write_squashfs
from workers.cvmfs import Content, Dirent
from workers.errors import TransientError
from workers.formats.format import (
    Building,
    ConfigDigest,
    ConvertedImage,
    Format,
    ImageBounds,
    Use,
)
from workers.formats.paths import IMAGES, flat_path, squashed_path
from workers.formats.receipt import Receipt
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import ContentAt
from workers.publishing.publisher import ContentSink, PublishedTree
from workers.reference import Reference


class NoRoomToSquash(TransientError):
    """The folder for temporary files cannot take the file."""


class Squashfs(Format):
    """See the module."""

    name = "image"
    shelf = IMAGES
    parts = ("flat",)

    def lacking(self) -> str | None:
        """Return that the program is missing, if it is."""
        if can_squash():
            return None
        return "format image needs mksquashfs: install squashfs-tools 4.5 or newer"

    def missing(
        self, image: ResolvedImage, tree: PublishedTree, limits: ImageBounds
    ) -> Iterable[str]:
        """Return the config's digest, unless the file is there."""
        digest = image.manifest.config.digest
        return [] if tree.lookup(squashed_path(digest)) is not None else [digest]

    def kept_by(self, path: bytes) -> bytes:
        """Return the path of the tree that the file was made of."""
        config = path.rpartition(b"/")[2].partition(b".")[0].decode(errors="replace")
        return flat_path(f"sha256:{config}")

    def is_ours(self, tree: PublishedTree, path: bytes) -> bool:
        """Tell by the name of the file."""
        return path.endswith(b".sqfs")

    def build(
        self, converted: ConvertedImage, building: Building
    ) -> Iterator[ContentAt]:
        """Make and store the file, of the tree that ``flat`` has built.

        Raises:
            SquashFailed: mksquashfs cannot make this tree.
            SquashStopped: it was killed, or the disk is full.
            NoRoomToSquash: there is no folder to work in.
        """
        digest = converted.image.manifest.config.digest
        tree = building.trees[flat_path(digest)]
        folder = building.scratch if os.access(building.scratch, os.W_OK) else None
        try:
            with TemporaryFile(dir=folder) as file:
                write_squashfs(prepared(tree), partial(_read, building.sink), file)
                content = _store(file, building.sink)
        except OSError as error:
            raise NoRoomToSquash(
                f"no squashfs can be made in {folder or 'TMPDIR'}: {error.strerror}"
            ) from error
        yield ContentAt(squashed_path(digest), content)

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str | None:
        """Return the path of the file."""
        digest = config_digest()
        return None if digest is None else squashed_path(digest).decode()

    def uses(self, place: str, *, is_alone: bool) -> Iterator[Use]:
        """Yield the path."""
        heading = "As one squashfs file, for shifter, podman-hpc and apptainer"
        yield Use("file", heading, place, "Path of the file in CVMFS")


def _read(sink: ContentSink, dirent: Dirent) -> Iterable[bytes]:
    return () if dirent.content is None else sink.pieces(dirent.content)


def _store(file: BinaryIO, sink: ContentSink) -> Content:
    """Put a file into the content store, as files of images are put."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= sink.piece_size:
        return sink.put_bytes(file.read())
    pieces = []
    while data := file.read(sink.piece_size):
        pieces.append(sink.put_piece(data, file.tell() - len(data)))
    return sink.join_pieces(tuple(pieces))
