"""A published root file system as one file."""

from pathlib import Path

from workers.archives.entries import published
from workers.archives.outcome import Export, ExportFailed, Tell
from workers.archives.squashfs import require_program, write_squashfs
from workers.archives.tar import write_tar
from workers.exporting.destination import STANDARD_OUTPUT, new_file
from workers.publishing.publisher import PublishedTree


def export_tar(
    tree: PublishedTree, path: bytes, destination: Path, tell: Tell = lambda _: None
) -> Export:
    """Write the tree at ``path`` as a tar.

    Args:
        tree: the revision to read.
        path: of a directory in the repository, symlinks already followed.
        destination: a new file, or ``-``.
        tell: is told of every entry.

    Raises:
        ExportFailed: the destination is there already, or the disk refuses.
        FormatError: the repository is damaged there.
    """
    with new_file(destination) as file:
        entries = published(tree.walk(path), path)
        return write_tar(entries, tree.pieces, file.write, tell)


def export_squashfs(
    tree: PublishedTree, path: bytes, destination: Path, tell: Tell = lambda _: None
) -> Export:
    """Write the tree at ``path`` as a squashfs; as ``export_tar``, but to no pipe.

    Raises:
        ProgramMissing: the program is not installed.
    """
    require_program()
    if destination == STANDARD_OUTPUT or (
        destination.exists() and not destination.is_file()
    ):
        raise ExportFailed("a squashfs needs a file: give the name of a new one")
    with new_file(destination) as file:
        return write_squashfs(published(tree.walk(path), path), tree.pieces, file, tell)
