"""An image as one squashfs file in the repository itself.

It is made of the tree that is about to be published, its contents read back from where
they were stored, and goes where all content goes. On the way it lies in a file without
a name, which nobody has to clean up.

The same image gives the same file, whether its layers were fetched or read back. (Only
hard links to files of lower layers, as no builder makes them, are known in one case and
copies in the other.)
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from workers.archives.entries import prepared
from workers.archives.squashfs import write_squashfs
from workers.cvmfs import Content
from workers.errors import TransientError
from workers.formats.paths import flat_path, squashed_path
from workers.publishing.plan import ContentAt, ContentSink, Publisher, TreeAt


class NoRoomToSquash(TransientError):
    """The folder for temporary files cannot take the file."""


def squashed_image(
    config_digest: str, trees: Sequence[TreeAt], publisher: Publisher, scratch: Path
) -> ContentAt:
    """Make and store the squashfs file of an image.

    Args:
        config_digest: names the image.
        trees: to publish; its root file system is among them.
        publisher: has the contents, and takes the file's.
        scratch: folder for the file meanwhile, if it can be written; else ``TMPDIR``.

    Raises:
        ProgramMissing: mksquashfs is not installed.
        SquashFailed: it cannot make this tree.
        SquashStopped: it was killed, or the disk is full.
        NoRoomToSquash: there is no folder to work in.
    """
    place = flat_path(config_digest)
    tree = next(tree.tree for tree in trees if tree.path == place)
    folder = scratch if os.access(scratch, os.W_OK) else None
    try:
        with TemporaryFile(dir=folder) as file:
            write_squashfs(prepared(tree), publisher.pieces, file)
            content = _store(file, publisher.sink)
    except OSError as error:
        raise NoRoomToSquash(
            f"no squashfs can be made in {folder or 'TMPDIR'}: {error.strerror}"
        ) from error
    return ContentAt(squashed_path(config_digest), content)


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
