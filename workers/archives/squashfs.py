"""A tree as one squashfs file, for whoever mounts images as files.

``mksquashfs`` makes it out of a tar, unprivileged, with owners and attributes as the
image has them, and the same bytes for the same tree: nothing of now or here is in it.
(``sqfstar`` is the same program by another name, but its version 4.5 takes no level of
compression.) gzip, because every kernel, squashfuse and mount helper there is can read
it. A Debian of 545 MB on two cores: gzip 6 takes 14 s for 184 MB; 9, the program's
default, 51 s for 183 MB; zstd 9, which kernels of older clusters lack, 6 s for 178 MB.

What squashfs cannot hold: fractions of seconds, times before 1970 or after 2106,
sockets, an owner of the root directory who owns nothing else, extended attributes of
that directory or of other families than ``user``,
``trusted`` and ``security``.
"""

import contextlib
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO, BinaryIO, cast

from workers.archives.entries import ArchiveEntry, Read
from workers.archives.outcome import Export, Tell
from workers.archives.squashfs_root import write_root
from workers.archives.tar import write_tar
from workers.cvmfs import Dirent
from workers.errors import PermanentError, TransientError

PROGRAM = "mksquashfs"
_SETTINGS = (
    *("-tar", "-noappend", "-comp", "gzip", "-Xcompression-level", "6", "-b", "128K"),
    *("-mkfs-time", "0", "-reproducible", "-mem", "64M", "-quiet", "-no-progress"),
    "-noI",  # for ``write_root``
)
_FAMILIES = (b"user.", b"trusted.", b"security.")
_LATEST = 2**32 - 1
ATTRIBUTES = "extended attributes"
ROOT_OWNER = "owner of the root directory"


class ProgramMissing(PermanentError):
    """The program that makes squashfs files is not installed."""

    def __init__(self) -> None:
        super().__init__(
            f"there is no {PROGRAM} here, which makes squashfs files: "
            "install squashfs-tools 4.5 or newer"
        )


class SquashFailed(PermanentError):
    """The program refuses a tree."""


class SquashStopped(TransientError):
    """The program was stopped, or had no room."""


def can_squash() -> bool:
    """Tell whether squashfs files can be made here."""
    return shutil.which(PROGRAM) is not None


def require_program() -> str:
    """Return the program.

    Raises:
        ProgramMissing: it is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ProgramMissing
    return program


def write_squashfs(
    entries: Iterable[ArchiveEntry],
    read: Read,
    file: BinaryIO,
    tell: Tell = lambda _: None,
) -> Export:
    """Make a squashfs of a tree.

    Args:
        entries: the root first, as ``published`` and ``prepared`` give them.
        read: returns contents; is called from several threads.
        file: on a disk; what is in it is replaced. It may be without a name.
        tell: is told of every entry.

    Raises:
        ProgramMissing: the program is not installed.
        SquashFailed: it cannot make this tree.
        SquashStopped: it was killed, or the disk is full.
    """
    program = require_program()
    left = iter(entries)
    root = next(left).dirent
    losses = Export().losses
    if root.xattrs:
        losses[ATTRIBUTES] += len(root.xattrs)
    settings = ["-root-mode", f"{stat.S_IMODE(root.mode):o}"]
    place = f"/proc/self/fd/{file.fileno()}"
    command = [program, "-", place, *_SETTINGS, *settings]
    with TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - fixed words and numbers
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=[file.fileno()],
        )
        try:
            _free_memory(process.pid)
            export = _feed(process, _holdable(left, losses), read, tell)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        if process.returncode or export is None:
            raise _error(process.returncode, said)
    if not write_root(file, root.uid, root.gid, _time(root)):
        losses[ROOT_OWNER] += 1
    export.entries += 1
    export.losses += losses
    return export


def _free_memory(pid: int) -> None:
    """Let a process take what its own settings say, not what a job may.

    The stacks of its threads, some for each core, count in a limit of data.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_DATA, (hard, hard))


def _feed(
    process: subprocess.Popen[bytes],
    entries: Iterable[ArchiveEntry],
    read: Read,
    tell: Tell,
) -> Export | None:
    """Write the tar to the program; ``None`` if it does not want to hear its end."""
    pipe = cast("IO[bytes]", process.stdin)
    try:
        with pipe:
            return write_tar(entries, read, pipe.write, tell)
    except BrokenPipeError:
        return None


def _holdable(
    entries: Iterable[ArchiveEntry], losses: dict[str, int]
) -> Iterator[ArchiveEntry]:
    """Leave out what squashfs cannot hold, and what stops the program."""
    for entry in entries:
        dirent = entry.dirent
        kept = tuple(pair for pair in dirent.xattrs if pair[0].startswith(_FAMILIES))
        if entry.first:
            kept = ()  # the first name has said it
        else:
            losses[ATTRIBUTES] += len(dirent.xattrs) - len(kept)
        yield entry._replace(
            dirent=dirent._replace(mtime=_time(dirent), mtime_ns=0, xattrs=kept)
        )


def _time(dirent: Dirent) -> int:
    return min(max(dirent.mtime, 0), _LATEST)


def _error(code: int, said: IO[bytes]) -> Exception:
    said.seek(0)
    lines = said.read().decode(errors="replace").splitlines()
    words = "; ".join(line.strip() for line in lines[-3:] if line.strip())
    if code < 0 or "No space left" in words:
        ending = f"signal {-code}" if code < 0 else "no room"
        return SquashStopped(f"{PROGRAM} was stopped ({ending}): {words or 'no word'}")
    return SquashFailed(f"{PROGRAM} ended with {code}: {words or 'no word'}")
