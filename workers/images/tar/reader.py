"""The tar dialects found in layers, read as a stream.

ustar, old GNU (long names, sparse files, base-256 numbers) and PAX (long names, sizes,
owners, sub-second times, xattrs, GNU sparse 0.0, 0.1 and 1.0). Names are bytes
throughout. Why not ``tarfile``: it spends 25 µs on an entry, decodes names, drops the
fraction of mtime into a float, and the diff id needs every byte of the stream anyhow.

Read first: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar
manual, "Basic Tar Format". What a name may contain is decided in ``names``, not here.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from workers.images.tar.exact_reader import ByteStream, ExactReader
from workers.images.tar.fields import (
    DamagedTar,
    Records,
    checked_size,
    parse_decimal,
    parse_number,
    parse_owner,
    parse_records,
    parse_time,
)
from workers.images.tar.sparse import (
    SparseMap,
    extents_in_data,
    extents_in_records,
    filled,
    is_pax_sparse,
    old_gnu_extents,
)

_BLOCK = 512
_ZERO_BLOCK = bytes(_BLOCK)
# name, mode, uid, gid, size, mtime, checksum, type flag, link, magic, device major and
# minor, prefix
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 6s 66x 8s 8s 155s 12x")
_POSIX = b"ustar\0"
# All that stands in front of one entry: its PAX records, its long name, its long link.
# Linux's PATH_MAX is 4096, xattrs may be 64 KiB; Go reads as much of each.
_MOST_EXTENDED_BYTES = 1 << 20
# What reading such a header costs, however short it is.
_HEADER_BYTES = 64
# Attributes of one entry; a catalog holds 255, and Linux lists 64 KiB of names.
_MOST_XATTRS = 1 << 12
_ADLER_MODULUS = 65521
_XATTR = b"SCHILY.xattr."

REGULAR, HARD_LINK, SYMLINK = b"0", b"1", b"2"
CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"3", b"4", b"5", b"6"
_OLD_REGULAR, _CONTIGUOUS, _OLD_SPARSE = b"\0", b"7", b"S"
_PAX, _GLOBAL_PAX, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_REGULAR_FLAGS = frozenset({REGULAR, _OLD_REGULAR, _CONTIGUOUS, _OLD_SPARSE})
_DEVICE_FLAGS = frozenset({CHARACTER, BLOCK_DEVICE})
# POSIX: whatever their size says, no data follows these.
_DATALESS_FLAGS = frozenset({HARD_LINK, SYMLINK, DIRECTORY, FIFO}) | _DEVICE_FLAGS

Xattrs = tuple[tuple[bytes, bytes], ...]


class Member(NamedTuple):
    """One entry of a tar file.

    Attributes:
        name: as stored, but without slashes at its end; ``b"/"`` stays.
        kind: the type flag; ``b"0"`` for every sort of regular file.
        mode: permission bits, ``0o7777`` at most.
        size: uncompressed bytes of a regular file, holes included; else 0.
        link: target of symlinks and hard links.
        device: major and minor number of devices.
        xattrs: in order of name.
        extents: where the data of a sparse file lies, else ``None``.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    xattrs: Xattrs
    extents: SparseMap | None


_NO_RECORDS: Records = {}
_NO_DEVICE = (0, 0)


def _for_nothing(_size: int) -> None:
    """Let all headers pass."""


class TarReader:
    """Iterates over the members of a stream; the content is read between two of them.

    The caller reads a member's content with ``read_content`` or ``pieces``, or not at
    all; what it leaves is skipped. After the last member everything up to the end of
    the stream has been read, so that whoever hashes the stream has seen all of it.

    Args:
        stream: the tar.
        spend_header: told, before it is read, the length of what stands in front of an
            entry (PAX records, long names); what it raises ends the reading.

    Raises:
        DamagedTar, CutShort: while iterating or reading content.
    """

    def __init__(
        self, stream: ByteStream, spend_header: Callable[[int], None] = _for_nothing
    ) -> None:
        self._source = ExactReader(stream)
        self._spend_header = spend_header
        self._extended_bytes = 0  # in front of the next member
        self._left = 0  # data of the current member that nobody has read yet
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        # What headers in front of an entry say of it.
        records, long_name, long_link = _NO_RECORDS, None, None
        while header := self._next_header():
            kind = header[156:157]
            if kind == _PAX:
                records = parse_records(self._extended(header))
            elif kind == _LONG_NAME:
                long_name = _text(self._extended(header))
            elif kind == _LONG_LINK:
                long_link = _text(self._extended(header))
            elif kind == _GLOBAL_PAX:
                # POSIX would apply it to all entries that follow; what runs images
                # (containerd, Docker) does not, so neither do we.
                self._extended(header)
            else:
                yield self._member(header, records, long_name, long_link)
                records, long_name, long_link = _NO_RECORDS, None, None
                self._extended_bytes = 0
                self._skip_rest()
        self._source.drain()

    def read_content(self, member: Member) -> bytes:
        """Return the whole content of a small regular file, holes filled."""
        if member.extents is not None:
            return b"".join(self._filled(member.extents))
        self._left = 0
        return self._source.take(member.size)

    def pieces(self, member: Member, length: int) -> Iterator[bytes]:
        """Yield the content of a regular file in pieces of exactly ``length`` bytes.

        The last piece may be shorter. Memory is bounded by ``length``, whatever the
        size, and however the holes of a sparse file lie.
        """
        if member.extents is not None:
            yield from _regrouped(self._filled(member.extents), length)
            return
        for start in range(0, member.size, length):
            take = min(length, member.size - start)
            self._left -= take
            yield self._source.take(take)

    def _filled(self, extents: SparseMap) -> Iterator[bytes]:
        self._left = 0
        return filled(extents, self._source)

    def _member(
        self,
        header: bytes,
        records: Records,
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Member:
        (
            name, mode, uid_field, gid_field, size_field, mtime_field, _, kind,
            link, magic, major, minor, prefix,
        ) = _HEADER.unpack(header)  # fmt: skip
        name = _text(name)
        if magic == _POSIX and prefix[0]:
            name = _text(prefix) + b"/" + name
        if long_name is not None:
            name = long_name
        link = _text(link) if long_link is None else long_link
        uid, gid = parse_number(uid_field), parse_number(gid_field)
        size = parse_number(size_field)
        mtime, mtime_ns = parse_number(mtime_field), 0
        xattrs: Xattrs = ()
        if records:
            # POSIX: a record without a value takes the keyword back; what the header
            # says counts then.
            name = records.get(b"path") or name
            link = records.get(b"linkpath") or link
            uid = _record_or(parse_owner, records.get(b"uid"), uid)
            gid = _record_or(parse_owner, records.get(b"gid"), gid)
            size = _record_or(parse_decimal, records.get(b"size"), size)
            if text := records.get(b"mtime"):
                mtime, mtime_ns = parse_time(text)
            xattrs = _xattrs(records)
        if kind == _OLD_REGULAR and name.endswith(b"/"):
            kind = DIRECTORY  # before POSIX directories had no flag of their own
        size, extents = self._begin_data(header, kind, size, records)
        if extents is not None:
            name = records.get(b"GNU.sparse.name") or name
        if name.endswith(b"/"):
            name = name.rstrip(b"/") or b"/"
        device = _NO_DEVICE
        if kind in _DEVICE_FLAGS:
            device = (parse_number(major), parse_number(minor))
        elif kind in _REGULAR_FLAGS:
            kind = REGULAR
        return Member(
            name, kind, parse_number(mode) & 0o7777, uid, gid, size, mtime, mtime_ns,
            link, device, xattrs, extents,
        )  # fmt: skip

    def _begin_data(
        self, header: bytes, kind: bytes, stored: int, records: Records
    ) -> tuple[int, SparseMap | None]:
        """Note how much data follows an entry; return its content's size and map."""
        checked_size(stored)
        if kind in _DATALESS_FLAGS:
            stored = 0
        self._left, self._padding = stored, -stored % _BLOCK
        if kind not in _REGULAR_FLAGS:
            return 0, None
        if kind != _OLD_SPARSE and not is_pax_sparse(records):
            return stored, None
        extents = self._extents(header, kind, records)
        return extents.size, extents

    def _extents(self, header: bytes, kind: bytes, records: Records) -> SparseMap:
        """Return the map of a sparse file, which must fit the data that follows."""
        if kind == _OLD_SPARSE:
            extents = old_gnu_extents(header, self._source)
        elif records.get(b"GNU.sparse.major") == b"1":
            extents, taken = extents_in_data(records, self._source, self._left)
            self._left -= taken
        else:
            extents = extents_in_records(records)
        if extents.data != self._left:
            raise DamagedTar("tar: the extents of a sparse file do not fit its data")
        return extents

    def _extended(self, header: bytes) -> bytes:
        """Return the content of a header that speaks of the next entry."""
        size = checked_size(parse_number(header[124:136]), "an extended header")
        self._extended_bytes += size
        if self._extended_bytes > _MOST_EXTENDED_BYTES:
            raise DamagedTar(
                f"tar: an extended header of {size} bytes; in front of an entry "
                f"{_MOST_EXTENDED_BYTES} are read"
            )
        self._spend_header(_HEADER_BYTES + size)
        data = self._source.take(size)
        self._source.skip_padding(-size % _BLOCK)
        return data

    def _next_header(self) -> bytes:
        """Return the next header, ``b""`` behind the last.

        Two zero blocks end a tar; some writers leave one of them out, or both.
        """
        header = self._source.take_or_end(_BLOCK)
        if not header:
            return b""
        if header == _ZERO_BLOCK:
            second = self._source.take_or_end(_BLOCK)
            if second and second != _ZERO_BLOCK:
                # GNU tar would stop here with a warning; what follows would be lost.
                raise DamagedTar("tar: there is more behind a single block of zeros")
            return b""
        # The checksum adds up all bytes, those of its own field taken as blanks. The
        # lower half of Adler-32 is one more than the sum, modulo a prime: 20 times as
        # fast as sum() and wrong once in 65 521 wrong headers.
        field = header[148:156]
        blanks = 8 * 0x20 - (zlib.adler32(field) & 0xFFFF)
        summed = (zlib.adler32(header) & 0xFFFF) + blanks
        wrong = (summed - parse_number(field)) % _ADLER_MODULUS
        if wrong and _signed_checksum(header) != parse_number(field):
            raise DamagedTar("tar: the checksum of a header is wrong")
        return header

    def _skip_rest(self) -> None:
        if self._left:
            self._source.skip(self._left)
        if self._padding:
            # The last of a tar may lack it: all that counts is there.
            self._source.skip_padding(self._padding)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _record_or(parse: Callable[[bytes], int], text: bytes | None, default: int) -> int:
    return parse(text) if text else default


def _signed_checksum(header: bytes) -> int:
    """Add up a header as old SunOS did, its bytes taken as signed."""
    blanked = header[:148] + b" " * 8 + header[156:]
    return sum(struct.unpack("512b", blanked))


def _xattrs(records: Records) -> Xattrs:
    keys = [key for key in records if key.startswith(_XATTR)]
    if len(keys) > _MOST_XATTRS:
        raise DamagedTar(
            f"tar: an entry with {len(keys)} attributes; {_MOST_XATTRS} are read"
        )
    return tuple(sorted((key[len(_XATTR) :], records[key]) for key in keys))


def _regrouped(blocks: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of ``length``; the last may be shorter."""
    piece = bytearray()
    for block in blocks:
        piece += block
        while len(piece) >= length:
            yield bytes(piece[:length])
            del piece[:length]
    if piece:
        yield bytes(piece)
