"""Directory entries into the rows of a catalog, fast.

An image has tens of thousands of entries, so the usual ones (a regular file in one
object, with a name in UTF-8) take the short way through one loop; all others are told
apart in functions of their own.

Source: cvmfs/catalog_sql.cc, ``SqlDirentWrite``; cvmfs-format.md sections 3.3, 3.4.
"""

import hashlib
import operator
import sqlite3
import stat
import struct
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

from workers.cvmfs.catalog.counters import Counters
from workers.cvmfs.catalog.database import translated
from workers.cvmfs.catalog.schema import (
    ALGORITHM_SHIFT,
    COMPRESSION_SHIFT,
    DIRECTORY_SIZE,
    FLAG_CHUNKED,
    FLAG_DIRECTORY,
    FLAG_FILE,
    FLAG_MOUNTPOINT,
    FLAG_NESTED_ROOT,
    FLAG_SPECIAL,
    FLAG_SYMLINK,
    INSERT_CHUNK,
    INSERT_ROW,
    INSERT_ROW_OF_BYTES,
    INSERT_ROWS,
    LINK_GROUP_SHIFT,
    ROWS_AT_ONCE,
    has_variable,
)
from workers.cvmfs.errors import InvalidTree
from workers.cvmfs.values.dirent import Content, Dirent
from workers.cvmfs.values.hash import path_key
from workers.cvmfs.values.paths import joined_names, parent, printable
from workers.cvmfs.values.trees import Directory
from workers.cvmfs.values.xattrs import Xattrs, encode_xattrs

LOST_XATTR = "xattr too long"
LOST_LINK = "hard link across directories"
LOST_TARGET = "variable in symlink"

_MOST_WAITING = 1 << 16
"""More rows than this go to the database in several batches, each sorted by itself:
one takes 400 bytes while it waits, besides its target and its attributes."""
_MOST_BYTES_WAITING = 1 << 23  # of targets and attributes
_LOOK_EVERY = 1 << 11

_TYPE_BITS = 0o170000
_SPECIAL = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)
_LINK_GROUP = operator.attrgetter("link_group")
_PATH_KEY = struct.Struct("<qq")

_FIRST_HALF_OF_KEY = operator.itemgetter(0)

_Values = tuple[int | str | bytes | bytearray, ...]


class _Shape(NamedTuple):
    """The columns of a row that depend on what sort of entry it is."""

    hash: bytearray | str
    size: int
    flags: int
    symlink: str | bytes = ""
    link_count: int = 1


class Losses:
    """What the format could not hold of a tree, however many catalogs it has."""

    def __init__(self) -> None:
        self._by_kind: Counter[str] = Counter()
        self._directories_of_group: Counter[int] = Counter()

    def add(self, kind: str, count: int = 1) -> None:
        """Count what was lost."""
        self._by_kind[kind] += count

    def add_group(self, group: int) -> None:
        """Count a directory that has names of a group of hard links."""
        self._directories_of_group[group] += 1

    def by_kind(self) -> dict[str, int]:
        """Return what was lost by kind, once all entries are known."""
        split = sum(count > 1 for count in self._directories_of_group.values())
        return {**self._by_kind, **({LOST_LINK: split} if split else {})}


class RowWriter:
    """Collects rows for one catalog, counts them, and inserts them many at a time.

    Args:
        losses: of the tree.
        connection: to the catalog's database.

    Attributes:
        counters: of the rows so far; ``nested`` is not its business.
    """

    def __init__(self, losses: Losses, connection: sqlite3.Connection) -> None:
        self._losses = losses
        self._connection = connection
        self._counts: Counter[str] = Counter()
        self._rows: list[_Values] = []
        self._rows_of_bytes: list[_Values] = []
        self._chunks: list[_Values] = []
        self._bytes_waiting = 0
        self._last_group = 0

    @property
    def counters(self) -> Counters:
        """What the rows so far add to the counters of their catalog."""
        return Counters(**self._counts)

    def add_root(self, mountpoint: bytes, dirent: Dirent, link_count: int) -> None:
        """Add the first row of a catalog.

        Of a nested catalog it must equal the row of the same directory in the outer
        one, with which its losses are counted; of the root catalog its parent is
        (0, 0), not the root (trap 4).
        """
        self._counts["dir"] += 1
        key = path_key(mountpoint)
        above = path_key(parent(mountpoint)) if mountpoint else (0, 0)
        flags = FLAG_DIRECTORY | (FLAG_NESTED_ROOT if mountpoint else 0)
        name = mountpoint.rpartition(b"/")[2]
        xattrs, _ = encode_xattrs(dirent.xattrs)
        if xattrs is not None:
            self._counts["xattr"] += 1
        self._rows_of_bytes.append(
            (
                *key,
                *above,
                link_count,
                "",
                DIRECTORY_SIZE,
                dirent.mode,
                dirent.mtime,
                dirent.mtime_ns,
                flags,
                name,
                b"",
                dirent.uid,
                dirent.gid,
                "" if xattrs is None else bytearray(xattrs),
            )
        )

    def add_entries(
        self,
        path: bytes,
        entries: Directory,
        link_counts: Mapping[bytes, int],
        mountpoints: Collection[bytes] = (),
    ) -> None:
        """Add the rows of a directory's entries.

        Args:
            path: of the directory, from the root of the repository.
            entries: by name.
            link_counts: of those entries that are directories, by name.
            mountpoints: names of those whose entries are in a nested catalog.

        Raises:
            InvalidTree: an entry contradicts itself, or its name is none.
        """
        if not entries:
            return
        if len(entries) > _LOOK_EVERY:
            # In parts then, which are those of the same tree however it comes.
            entries = dict(sorted(entries.items()))
        names = _names(path, entries)
        hard_links = self._hard_links(path, entries)
        above_first, above_second = path_key(path)
        # MD5 of the common beginning is taken once; each name continues a copy of it.
        begun = hashlib.md5(path + b"/", usedforsecurity=False).copy
        unpack = _PATH_KEY.unpack
        add = self._rows.append
        add_of_bytes = self._rows_of_bytes.append
        files = file_size = 0
        digest: bytearray | str
        symlink: str | bytes
        pairs = zip(names, entries.items(), strict=True)
        while part := list(islice(pairs, _LOOK_EVERY)):
            for text, (name, dirent) in part:
                mode, uid, gid, mtime, mtime_ns, content, _, _, xattrs, _ = dirent
                raw = content[0] if content is not None else None
                hasher = begun()
                hasher.update(name)
                first, second = unpack(hasher.digest())
                if (
                    content is not None
                    and raw is not None
                    and mode & _TYPE_BITS == stat.S_IFREG
                ):
                    _, size, compression, _, algorithm = content
                    digest = bytearray(raw)
                    flags = (
                        FLAG_FILE
                        | compression << COMPRESSION_SHIFT
                        | algorithm << ALGORITHM_SHIFT
                    )
                    symlink = ""
                    links = hard_links.get(name, 1)
                    files += 1
                    file_size += size
                else:
                    digest, size, flags, symlink, links = self._shape(
                        path, name, dirent, (first, second), link_counts
                    )
                    links = hard_links.get(name, links)
                    if name in mountpoints:
                        flags |= FLAG_MOUNTPOINT
                row = (
                    first, second, above_first, above_second, links, digest, size, mode,
                    mtime, mtime_ns, flags, text, symlink, uid, gid,
                    self._encoded(xattrs) if xattrs else "",
                )  # fmt: skip
                if text.__class__ is str and symlink.__class__ is str:
                    add(row)
                else:
                    add_of_bytes(row)
            if (
                len(self._rows) + len(self._rows_of_bytes) >= _MOST_WAITING
                or self._bytes_waiting >= _MOST_BYTES_WAITING
            ):
                self.insert()
        self._counts["regular"] += files
        self._counts["file_size"] += file_size

    def insert(self) -> None:
        """Insert the rows that wait for it; at the end that is the caller's to do.

        In the order of their keys: pages of the index fill up one after the other, and
        the compressed catalog becomes smaller by a fifth (cvmfs-format.md 3.9).

        Raises:
            InvalidTree: a number that no column can hold.
        """
        rows = sorted(self._rows, key=_FIRST_HALF_OF_KEY)
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        many = (
            tuple(chain.from_iterable(rows[begin : begin + ROWS_AT_ONCE]))
            for begin in range(0, whole, ROWS_AT_ONCE)
        )
        with translated("catalog row", into=InvalidTree):
            # Compiling a statement takes longer than inserting a row.
            if whole:
                self._connection.executemany(INSERT_ROWS, many)
            if rows[whole:]:
                self._connection.executemany(INSERT_ROW, rows[whole:])
            if self._rows_of_bytes:
                rows = sorted(self._rows_of_bytes, key=_FIRST_HALF_OF_KEY)
                self._connection.executemany(INSERT_ROW_OF_BYTES, rows)
            if self._chunks:
                self._connection.executemany(INSERT_CHUNK, sorted(self._chunks))
        for waiting in (self._rows, self._rows_of_bytes, self._chunks):
            waiting.clear()
        self._bytes_waiting = 0

    def _shape(
        self,
        path: bytes,
        name: bytes,
        dirent: Dirent,
        key: tuple[int, int],
        link_counts: Mapping[bytes, int],
    ) -> _Shape:
        """Tell the columns of anything but a regular file in one object."""
        kind = stat.S_IFMT(dirent.mode)
        if kind == stat.S_IFREG and dirent.content is not None:
            return self._chunked(path, name, dirent.content, key)
        if dirent.content is not None or kind == stat.S_IFREG:
            raise InvalidTree(f"{_where(path, name)}: content and type disagree")
        if kind == stat.S_IFDIR:
            self._counts["dir"] += 1
            return _Shape(
                "", DIRECTORY_SIZE, FLAG_DIRECTORY, link_count=link_counts[name]
            )
        if kind == stat.S_IFLNK:
            self._counts["symlink"] += 1
            return self._symlink(path, name, dirent.target)
        if kind in _SPECIAL:
            self._counts["special"] += 1
            size = dirent.device if kind in _DEVICES else 0
            return _Shape("", size, FLAG_FILE | FLAG_SPECIAL)
        raise InvalidTree(f"{_where(path, name)}: unknown type, mode {dirent.mode:o}")

    def _chunked(
        self, path: bytes, name: bytes, content: Content, key: tuple[int, int]
    ) -> _Shape:
        end = 0
        for chunk in content.chunks:
            if chunk.offset != end:
                break
            end += chunk.size
            self._chunks.append((*key, chunk.offset, chunk.size, chunk.hash))
        if not content.chunks or end != content.size:
            raise InvalidTree(f"{_where(path, name)}: chunks do not make up the file")
        self._counts["regular"] += 1
        self._counts["file_size"] += content.size
        self._counts["chunked"] += 1
        self._counts["chunked_size"] += content.size
        self._counts["chunks"] += len(content.chunks)
        flags = (
            FLAG_FILE
            | FLAG_CHUNKED
            | content.compression << COMPRESSION_SHIFT
            | content.algorithm << ALGORITHM_SHIFT
        )
        return _Shape("", content.size, flags)

    def _symlink(self, path: bytes, name: bytes, target: bytes) -> _Shape:
        if not target or b"\0" in target:
            raise InvalidTree(f"{_where(path, name)}: symlink to {target!r}")
        if has_variable(target):
            self._losses.add(LOST_TARGET)
        text: str | bytes
        try:
            text = target.decode()
        except UnicodeDecodeError:
            text = target
        self._bytes_waiting += len(target)
        return _Shape("", len(target), FLAG_FILE | FLAG_SYMLINK, text)

    def _encoded(self, xattrs: Xattrs) -> bytearray | str:
        blob, lost = encode_xattrs(xattrs)
        if lost:
            self._losses.add(LOST_XATTR, lost)
        if blob is None:
            return ""
        self._counts["xattr"] += 1
        self._bytes_waiting += len(blob)
        return bytearray(blob)

    def _hard_links(self, path: bytes, entries: Directory) -> Mapping[bytes, int]:
        """Return the ``hardlinks`` column of names that share a file with others here.

        A group of the format may not leave its directory (trap 12): names of one file
        in several directories become a group, or a plain row, in each.
        """
        if not any(map(_LINK_GROUP, entries.values())):
            return {}
        members: dict[int, list[bytes]] = {}
        for name, dirent in entries.items():
            if dirent.link_group and not stat.S_ISDIR(dirent.mode):
                members.setdefault(dirent.link_group, []).append(name)
        hard_links = {}
        # By name, so that the same tree is the same catalog in whatever order it comes.
        for group, names in sorted(members.items(), key=lambda item: min(item[1])):
            self._losses.add_group(group)
            if len(names) == 1:
                continue
            if any(entries[name] != entries[names[0]] for name in names):
                raise InvalidTree(
                    f"{_where(path, names[0])}: hard links to it differ from it"
                )
            self._last_group += 1
            value = self._last_group << LINK_GROUP_SHIFT | len(names)
            hard_links.update(dict.fromkeys(names, value))
        return hard_links


def _names(path: bytes, entries: Directory) -> Sequence[str | bytes]:
    """Return the names as text; if one of them is not UTF-8, all as bytes."""
    joined = joined_names(entries)
    if joined is None:
        raise InvalidTree(f"{printable(path)} has an entry whose name is none")
    try:
        return joined.decode().split("/")
    except UnicodeDecodeError:
        return list(entries)


def _where(path: bytes, name: bytes) -> str:
    return printable(path + b"/" + name)
