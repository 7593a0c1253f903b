"""A catalog's row as a value, and what it says about a file-system object.

Source: cvmfs/catalog_sql.cc, ``SqlDirent``; cvmfs-format.md sections 3.3 and 3.4.
"""

import itertools
import stat
from typing import NamedTuple

from workers.cvmfs.catalog.schema import (
    ALGORITHM_SHIFT,
    COLUMNS,
    COMPRESSION_SHIFT,
    DIRECTORY_SIZE,
    FLAG_CHUNKED,
    FLAG_DIRECTORY,
    FLAG_EXTERNAL,
    FLAG_FILE,
    FLAG_HIDDEN,
    FLAG_MOUNTPOINT,
    FLAG_SYMLINK,
    LINK_COUNT_MASK,
    LINK_GROUP_SHIFT,
    THREE_BITS,
)
from workers.cvmfs.errors import InvalidTree, Malformed
from workers.cvmfs.values.dirent import Chunk, Content, Dirent
from workers.cvmfs.values.hash import path_key
from workers.cvmfs.values.paths import printable
from workers.cvmfs.values.xattrs import decode_xattrs, encode_xattrs

_LATER_COLUMNS = frozenset(("xattr", "mtimens"))
"""What came with revisions 2 and 7 of the schema."""

_SOUND = {
    **{column: f"typeof({column})='integer'" for column in COLUMNS},
    "mode": "(typeof(mode)='integer' AND mode BETWEEN 0 AND 4294967295)",
    "name": "typeof(name)='text'",
    "symlink": "typeof(symlink)='text'",
    "hash": "(hash IS NULL OR (typeof(hash)='blob' AND length(hash)=20))",
    "mtimens": "(mtimens IS NULL OR mtimens BETWEEN 0 AND 999999999)",
    "xattr": "(xattr IS NULL OR typeof(xattr)='blob')",
}
"""Per column the SQL that is true for a sound value: SQLite itself lets any value into
any column."""


class Row(NamedTuple):
    """A row of the table ``catalog``, columns as they are; text as bytes."""

    md5path_1: int
    md5path_2: int
    parent_1: int
    parent_2: int
    hardlinks: int
    hash: bytes | None
    size: int
    mode: int
    mtime: int
    mtimens: int | None
    flags: int
    name: bytes
    symlink: bytes
    uid: int
    gid: int
    xattr: bytes | None

    @property
    def key(self) -> tuple[int, int]:
        """The ``path_key`` of the object's path."""
        return self.md5path_1, self.md5path_2

    @property
    def parent(self) -> tuple[int, int]:
        """The ``path_key`` of the directory it is in; (0, 0) for the root."""
        return self.parent_1, self.parent_2

    @property
    def link_count(self) -> int:
        """What ``st_nlink`` shall say."""
        return self.hardlinks & LINK_COUNT_MASK

    @property
    def link_group(self) -> int:
        """The hard link group in this catalog, 0 for none."""
        return self.hardlinks >> LINK_GROUP_SHIFT

    @property
    def is_directory(self) -> bool:
        """By its mode, which is what clients show."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_mountpoint(self) -> bool:
        """Whether the directory's entries are in a nested catalog."""
        return bool(self.flags & FLAG_MOUNTPOINT)

    @property
    def is_chunked(self) -> bool:
        """Whether the content is in the rows of ``chunks``."""
        return bool(self.flags & FLAG_CHUNKED)

    @property
    def is_external(self) -> bool:
        """Whether the content is kept outside of the repository."""
        return bool(self.flags & FLAG_EXTERNAL)

    @property
    def is_hidden(self) -> bool:
        """Whether listings leave it out."""
        return bool(self.flags & FLAG_HIDDEN)

    @property
    def algorithm(self) -> int:
        """The hash algorithm of the content; see ``hash.Algorithm``."""
        return (self.flags >> ALGORITHM_SHIFT) & THREE_BITS

    @property
    def compression(self) -> int:
        """The compression of the content; see ``dirent.ZLIB``."""
        return (self.flags >> COMPRESSION_SHIFT) & THREE_BITS

    def dirent(self, chunks: tuple[Chunk, ...] = ()) -> Dirent:
        """Return what the row says about the object.

        Args:
            chunks: of a chunked file, in the order of their offsets.

        Raises:
            Malformed: the row contradicts itself.
        """
        kind = stat.S_IFMT(self.mode)
        content = None
        if kind == stat.S_IFREG:
            if self.hash is None and not self.is_chunked and not self.is_external:
                raise Malformed(f"file {self.name!r} has no content hash")
            content = Content(
                None if self.is_chunked else self.hash,
                self.size,
                self.compression,
                chunks,
                self.algorithm,
            )
        return Dirent(
            self.mode,
            self.uid,
            self.gid,
            self.mtime,
            self.mtimens or 0,
            content,
            self.symlink if kind == stat.S_IFLNK else b"",
            self.size if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
            decode_xattrs(self.xattr) if self.xattr is not None else (),
            self.link_group,
        )


def new_row(path: bytes, dirent: Dirent, link_count: int) -> Row:
    """Return the row of a directory, a regular file or a symlink of one name.

    Rows of whole trees are made by ``row_writer.py``.

    Args:
        path: from the root of the repository.
        dirent: what is there.
        link_count: of a directory; anything else has one name.

    Raises:
        InvalidTree: the entry contradicts itself.
    """
    mode, uid, gid, mtime, mtime_ns, content, target, _, xattrs, _ = dirent
    kind = stat.S_IFMT(mode)
    digest, size = None, DIRECTORY_SIZE
    if (kind == stat.S_IFREG) != (content is not None):
        raise InvalidTree(f"{printable(path)}: content and type disagree")
    if content is not None:
        digest, size, compression, chunks, algorithm = content
        flags = (
            FLAG_FILE
            | compression << COMPRESSION_SHIFT
            | algorithm << ALGORITHM_SHIFT
            | (FLAG_CHUNKED if digest is None else 0)
        )
        offsets = itertools.accumulate((c.size for c in chunks), initial=0)
        whole = [*(c.offset for c in chunks), size]
        if digest is None and (not chunks or whole != [*offsets]):
            raise InvalidTree(f"{printable(path)}: chunks do not make up the file")
    elif kind == stat.S_IFLNK:
        if not target or b"\0" in target:
            raise InvalidTree(f"{printable(path)}: symlink to {target!r}")
        flags, size = FLAG_FILE | FLAG_SYMLINK, len(target)
    elif kind == stat.S_IFDIR:
        flags = FLAG_DIRECTORY
    else:
        raise InvalidTree(f"{printable(path)}: mode {mode:o} is not for single entries")
    above, _, name = path.rpartition(b"/")
    return Row(
        *path_key(path),
        *path_key(above),
        link_count if flags == FLAG_DIRECTORY else 1,
        digest,
        size,
        mode,
        mtime,
        mtime_ns,
        flags,
        name,
        target if kind == stat.S_IFLNK else b"",
        uid,
        gid,
        encode_xattrs(xattrs)[0],
    )


def select_rows(columns: frozenset[str], more: str = "") -> str:
    """Return the SELECT for the fields of ``Row``.

    Args:
        columns: those the table has; revisions before 7 lack some.
        more: a column to append.

    Raises:
        Malformed: it lacks one that all revisions have.
    """
    missing = set(COLUMNS) - _LATER_COLUMNS - columns
    if missing:
        raise Malformed(f"catalog without the columns {', '.join(sorted(missing))}")
    wanted = [
        column if column in columns else f"NULL AS {column}" for column in COLUMNS
    ]
    return f"SELECT {', '.join(wanted)} {more} FROM catalog"  # noqa: S608 - constants


def select_checked_rows(columns: frozenset[str]) -> str:
    """Return the same SELECT, with whether the row's types are sound as last column."""
    sound = " AND ".join(_SOUND[column] for column in COLUMNS if column in columns)
    return select_rows(columns, f", {sound}")
