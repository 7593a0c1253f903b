# Paths are bytes here, which pathlib does not hold.
# ruff: noqa: PTH101, PTH102, PTH123, PTH211
"""A published tree as a directory on disk, entry for entry.

Needs root for owners, devices and the attributes that only root may set; without it the
rest is written and what was left out is counted, never silent.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.archives.ahead import with_contents
from workers.archives.entries import ArchiveEntry, published
from workers.archives.outcome import Export, Tell
from workers.cvmfs import Dirent
from workers.exporting.destination import new_directory
from workers.images.rejected import printable
from workers.publishing.publisher import PublishedTree

# What systems say where a file system, or a user, cannot hold what an entry has: ext4
# calls attributes that are too many for it "no space".
_CANNOT_HOLD = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EOPNOTSUPP,
        errno.ENOTSUP,
        errno.E2BIG,
        errno.ERANGE,
        errno.EINVAL,
        errno.ENOSPC,
    }
)


def export_directory(
    tree: PublishedTree, path: bytes, destination: Path, tell: Tell = lambda _: None
) -> Export:
    """Write the tree at ``path`` into a new directory.

    Args:
        tree: the revision to read.
        path: of a directory in the repository, symlinks already followed.
        destination: is made; must not exist or be empty.
        tell: is told of every entry.

    Raises:
        ExportFailed: the destination is not empty, or the disk refuses.
        FormatError: the repository is damaged there.
    """
    export = Export()
    with new_directory(destination):
        _DirectoryWriter(os.fsencode(destination), export, tell).write(tree, path)
    return export


class _DirectoryWriter:
    def __init__(self, target: bytes, export: Export, tell: Tell) -> None:
        self._target = target
        self._export = export
        self._tell = tell

    def write(self, tree: PublishedTree, top: bytes) -> None:
        directories: list[tuple[bytes, Dirent]] = []
        entries = published(tree.walk(top), top)
        for entry, content in with_contents(entries, tree.pieces):
            place, dirent = self._place(entry.path), entry.dirent
            if stat.S_ISDIR(dirent.mode):
                if entry.path:
                    os.mkdir(place, 0o700)
                directories.append((place, dirent))
            elif entry.first:
                self._link(entry, place)
            else:
                self._create(place, dirent, content)
                self._dress(place, dirent)
            self._export.entries += 1
            self._tell(self._export)
        # Deepest first: filling a directory changes its time, and a mode without
        # write permission would keep us out.
        for place, dirent in reversed(directories):
            self._dress(place, dirent)

    def _place(self, path: bytes) -> bytes:
        return self._target + b"/" + path if path else self._target

    def _link(self, entry: ArchiveEntry, place: bytes) -> None:
        first = self._place(entry.first)
        if os.path.lexists(first):  # else it was lost, and so is this
            os.link(first, place, follow_symlinks=False)

    def _create(
        self, place: bytes, dirent: Dirent, content: Iterable[bytes] | None
    ) -> None:
        kind = stat.S_IFMT(dirent.mode)
        if kind == stat.S_IFREG:
            with open(place, "xb") as file:
                for block in content or ():
                    file.write(block)
                    self._export.size += len(block)
        elif kind == stat.S_IFLNK:
            os.symlink(dirent.target, place)
        else:
            with self._counted("devices and sockets", place, _kind_name(kind)):
                os.mknod(place, kind | 0o600, dirent.device)

    def _dress(self, place: bytes, dirent: Dirent) -> None:
        """Set owner, attributes, mode and time, in the order in which they last."""
        if not os.path.lexists(place):
            return
        with self._counted("owners", place, f"owner {dirent.uid}:{dirent.gid}"):
            os.chown(place, dirent.uid, dirent.gid, follow_symlinks=False)
        for name, value in dirent.xattrs:
            with self._counted("extended attributes", place, printable(name)):
                os.setxattr(place, name, value, follow_symlinks=False)
        if not stat.S_ISLNK(dirent.mode):
            # Changing the owner clears setuid and setgid.
            os.chmod(place, stat.S_IMODE(dirent.mode))
        time = dirent.mtime * 10**9 + dirent.mtime_ns
        os.utime(place, ns=(time, time), follow_symlinks=False)

    @contextlib.contextmanager
    def _counted(self, kind: str, place: bytes, what: str) -> Iterator[None]:
        """Count what cannot be held, and keep the first of each kind."""
        try:
            yield
        except OSError as error:
            if error.errno not in _CANNOT_HOLD:
                raise
            self._export.losses[kind] += 1
            path = printable(place.removeprefix(self._target + b"/"))
            said = f"{what} of {path} ({error.strerror})"
            self._export.first_losses.setdefault(kind, said)


def _kind_name(kind: int) -> str:
    names = {stat.S_IFSOCK: "the socket", stat.S_IFIFO: "the pipe"}
    return names.get(kind, "the device")
