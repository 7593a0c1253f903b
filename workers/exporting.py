# Paths are bytes here, which pathlib does not hold.
# ruff: noqa: PTH101, PTH102, PTH120, PTH123, PTH211
"""A published tree as a directory on disk, entry for entry.

Needs root for owners, devices and the attributes that only root may set; without it the
rest is written and what was left out is counted, never silent.
"""

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.cvmfs import Dirent, Snapshot
from workers.errors import PermanentError

# Catalogs keep one row of this name in the root of each; it is no part of an image.
_MARKER = b".cvmfscatalog"
_BLOCK = 1 << 20
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.E2BIG})


class ExportFailed(PermanentError):
    """The destination cannot take the tree."""


@dataclass(slots=True)
class Export:
    """What was written.

    Attributes:
        entries: files, directories, links and devices written.
        size: bytes of regular files.
        losses: what could not be written, counted by kind.
    """

    entries: int = 0
    size: int = 0
    losses: Counter[str] = field(default_factory=Counter)


def export_directory(snapshot: Snapshot, path: bytes, destination: Path) -> Export:
    """Write the tree at ``path`` into a new directory.

    Args:
        snapshot: the revision to read.
        path: of a directory in the repository, symlinks already followed.
        destination: is made; must not exist or be empty.

    Raises:
        ExportFailed: the destination is not empty, or the disk refuses.
        FormatError: the repository is damaged there.
    """
    target = os.fsencode(destination)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if any(destination.iterdir()):
            raise ExportFailed(f"{destination} is not empty: give a new directory")
        export = Export()
        _Writer(snapshot, target, export).write(path)
    except OSError as error:
        raise ExportFailed(
            f"cannot write {error.filename!r}: {error.strerror}"
        ) from error
    return export


class _Writer:
    def __init__(self, snapshot: Snapshot, target: bytes, export: Export) -> None:
        self._snapshot = snapshot
        self._target = target
        self._export = export
        self._linked: dict[tuple[bytes, int], bytes] = {}

    def write(self, top: bytes) -> None:
        directories: list[tuple[bytes, Dirent]] = []
        for path, dirent in self._snapshot.walk(top):
            place = self._target + path[len(top) :]
            if path.endswith(b"/" + _MARKER):
                continue
            if stat.S_ISDIR(dirent.mode):
                if path != top:
                    os.mkdir(place, 0o700)
                directories.append((place, dirent))
            elif not self._link(path, place, dirent):
                self._create(place, dirent)
                self._dress(place, dirent)
            self._export.entries += 1
        # Deepest first: filling a directory changes its time, and a mode without
        # write permission would keep us out.
        for place, dirent in reversed(directories):
            self._dress(place, dirent)

    def _link(self, path: bytes, place: bytes, dirent: Dirent) -> bool:
        """Make a further name of a file that has been written; ``False`` if new."""
        if not dirent.link_group:
            return False
        # A group lies within one directory, and its number within one catalog.
        key = (os.path.dirname(path), dirent.link_group)
        first = self._linked.setdefault(key, place)
        if first == place:
            return False
        os.link(first, place, follow_symlinks=False)
        return True

    def _create(self, place: bytes, dirent: Dirent) -> None:
        kind = stat.S_IFMT(dirent.mode)
        if kind == stat.S_IFREG:
            with self._snapshot.open(dirent) as content, open(place, "xb") as file:
                while block := content.read(_BLOCK):
                    file.write(block)
                    self._export.size += len(block)
        elif kind == stat.S_IFLNK:
            os.symlink(dirent.target, place)
        else:
            with self._counted("devices and sockets"):
                os.mknod(place, kind | 0o600, dirent.device)

    def _dress(self, place: bytes, dirent: Dirent) -> None:
        """Set owner, attributes, mode and time, in the order in which they last."""
        if not os.path.lexists(place):
            return
        with self._counted("owners"):
            os.chown(place, dirent.uid, dirent.gid, follow_symlinks=False)
        for name, value in dirent.xattrs:
            with self._counted("extended attributes"):
                os.setxattr(place, name, value, follow_symlinks=False)
        if not stat.S_ISLNK(dirent.mode):
            # Changing the owner clears setuid and setgid.
            os.chmod(place, stat.S_IMODE(dirent.mode))
        time = dirent.mtime * 10**9 + dirent.mtime_ns
        os.utime(place, ns=(time, time), follow_symlinks=False)

    @contextlib.contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        try:
            yield
        except PermissionError:
            self._export.losses[what] += 1
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._export.losses[what] += 1
