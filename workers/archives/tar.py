"""A tree as a tar, streamed: nothing is kept but the names of hard links.

POSIX's ``pax`` format, with an extended header only where the plain one cannot say it:
long names, fractions of seconds, large numbers, extended attributes. Names and targets
are bytes and written as such: GNU tar, umoci and mksquashfs take them so. (The record
``hdrcharset``, which would announce it, makes mksquashfs complain.)

The standard library's ``tarfile`` rounds times to what a float holds, and adds that
record.

Source: POSIX.1-2017 pax, "pax Interchange Format"; ``SCHILY.xattr`` as star, GNU tar,
bsdtar and Go's archive/tar write it.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from workers.archives.ahead import with_contents
from workers.archives.entries import ArchiveEntry, Read
from workers.archives.outcome import Export, ExportFailed, Tell
from workers.cvmfs import Dirent

Write = Callable[[bytes], object]

_TAR_BLOCK = 512
_END = bytes(2 * _TAR_BLOCK)
_MAX_NAME = 100
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
_ROOT = b"./"
_HARD_LINK, _PAX = b"1", b"x"
_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
SOCKETS = "sockets"


def write_tar(
    entries: Iterable[ArchiveEntry],
    read: Read,
    write: Write,
    tell: Tell = lambda _: None,
) -> Export:
    """Write a tree as a whole tar.

    Args:
        entries: directories before what is in them, first names before others.
        read: returns contents; is called from several threads.
        write: takes the bytes of the tar.
        tell: is told of every entry.

    Raises:
        ExportFailed: a file's content is not as long as its entry says.
    """
    export = Export()
    for entry, content in with_contents(_possible(entries, export), read):
        write(header(entry))
        if content is not None and entry.dirent.content is not None:
            size = entry.dirent.content.size
            _write_content(entry, content, size, write)
            export.size += size
        export.entries += 1
        tell(export)
    write(_END)
    return export


def header(entry: ArchiveEntry) -> bytes:
    """Return all that stands before an entry's content."""
    dirent = entry.dirent
    kind = _HARD_LINK if entry.first else _TYPES[stat.S_IFMT(dirent.mode)]
    path, link = entry.path or _ROOT, entry.first or dirent.target
    if entry.path and stat.S_ISDIR(dirent.mode):
        path += b"/"
    size = 0
    if dirent.content is not None and not entry.first:
        size = dirent.content.size
    records = b"".join(_records(path, link, size, dirent))
    plain = _plain(path, kind, link, size, dirent)
    if not records:
        return plain
    # Its own attributes matter to nobody.
    above = _plain(b"PaxHeaders/entry", _PAX, b"", len(records), _NOBODY)
    return above + records + bytes(-len(records) % _TAR_BLOCK) + plain


_NOBODY = Dirent(stat.S_IFREG | 0o644)


def _possible(
    entries: Iterable[ArchiveEntry], export: Export
) -> Iterator[ArchiveEntry]:
    for entry in entries:
        if stat.S_IFMT(entry.dirent.mode) in _TYPES:
            yield entry
        else:
            export.losses[SOCKETS] += 1


def _write_content(
    entry: ArchiveEntry, content: Iterable[bytes], size: int, write: Write
) -> None:
    left = size
    for block in content:
        left -= len(block)
        if left < 0:
            break
        write(block)
    if left:
        name = entry.path.decode(errors="backslashreplace")
        raise ExportFailed(f"{name} does not have the {size} bytes of its entry")
    if padding := -size % _TAR_BLOCK:
        write(bytes(padding))


def _records(path: bytes, link: bytes, size: int, dirent: Dirent) -> Iterator[bytes]:
    """Yield what the plain header has no room for."""
    if len(path) > _MAX_NAME:
        yield _record(b"path", path)
    if len(link) > _MAX_NAME:
        yield _record(b"linkpath", link)
    if size > _MAX_SIZE:
        yield _record(b"size", b"%d" % size)
    if dirent.uid > _MAX_ID:
        yield _record(b"uid", b"%d" % dirent.uid)
    if dirent.gid > _MAX_ID:
        yield _record(b"gid", b"%d" % dirent.gid)
    if dirent.mtime_ns or not 0 <= dirent.mtime <= _MAX_SIZE:
        total = dirent.mtime * 10**9 + dirent.mtime_ns
        seconds, nanoseconds = divmod(abs(total), 10**9)
        # All digits, always: mksquashfs wants a point.
        sign = b"-" if total < 0 else b""
        yield _record(b"mtime", b"%s%d.%09d" % (sign, seconds, nanoseconds))
    for name, value in dirent.xattrs:
        yield _record(b"SCHILY.xattr." + name, value)


def _record(key: bytes, value: bytes) -> bytes:
    body = b" %s=%s\n" % (key, value)
    length = len(body)
    # The length counts its own digits.
    while length != len(b"%d" % length) + len(body):
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _plain(path: bytes, kind: bytes, link: bytes, size: int, dirent: Dirent) -> bytes:
    """Return the header block, with zero for what is in a record."""
    is_device = kind in b"34"
    raw = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000%b%07o\0%07o\0" % (
        path[:_MAX_NAME].ljust(_MAX_NAME, b"\0"),
        stat.S_IMODE(dirent.mode),
        dirent.uid if dirent.uid <= _MAX_ID else 0,
        dirent.gid if dirent.gid <= _MAX_ID else 0,
        size if size <= _MAX_SIZE else 0,
        dirent.mtime if 0 <= dirent.mtime <= _MAX_SIZE else 0,
        kind,
        link[:_MAX_NAME].ljust(_MAX_NAME, b"\0"),
        bytes(64),
        os.major(dirent.device) if is_device else 0,
        os.minor(dirent.device) if is_device else 0,
    )
    return raw[:148] + b"%06o\0 " % sum(raw) + raw[156:] + bytes(167)
