"""The tar dialects found in layers, read as a stream.

ustar, old GNU (long names, sparse files, base-256 numbers) and PAX (long names, sizes,
owners, sub-second times, xattrs, GNU sparse 0.0, 0.1 and 1.0). Names are bytes
throughout. Why not ``tarfile``: it spends 25 µs on an entry, decodes names, drops the
fraction of mtime into a float, and the diff id needs every byte of the stream anyhow.

Read first: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar
manual, "Basic Tar Format" and "Storing Sparse Files". What a name may contain is
decided in ``layer``, not here.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from workers.errors import PermanentError

BLOCK = 512
_ZERO_BLOCK = bytes(BLOCK)
# One name or one set of PAX records; Linux's PATH_MAX is 4096, xattrs may be 64 KiB.
_EXTENDED_HEADER_LIMIT = 1 << 20
_SPARSE_EXTENTS_LIMIT = 1 << 20
_PIECE = 1 << 20
_NANOSECONDS_DIGITS = 9


class DamagedTar(PermanentError):
    """A layer that no tar reader could read."""


class ByteStream(Protocol):
    """What this module reads from; ``read`` gives ``b""`` only at the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes."""


class Member(NamedTuple):
    """One entry of a tar file.

    Attributes:
        name: as stored, a trailing slash removed.
        kind: the type flag; ``b"0"`` for every sort of regular file.
        mode: permission bits, ``0o7777`` at most.
        size: uncompressed bytes of a regular file, holes included; else 0.
        link: target of symlinks and hard links.
        device: major and minor number of devices.
        xattrs: in order of name.
        extents: offset and length of the data of a sparse file, else ``None``.
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
    xattrs: tuple[tuple[bytes, bytes], ...]
    extents: tuple[tuple[int, int], ...] | None


REGULAR, HARD_LINK, SYMLINK = b"0", b"1", b"2"
CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"3", b"4", b"5", b"6"
_REGULAR_FLAGS = frozenset({b"0", b"\0", b"7", b"S"})
_DATALESS_FLAGS = frozenset({HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FIFO})
_NO_DEVICE = (0, 0)
_NO_RECORDS: dict[bytes, bytes] = {}


class TarReader:
    """Iterates over the members of a stream; the content is read between two of them.

    The caller reads a member's content with ``read_content`` or ``pieces``, or not at
    all; what it leaves is skipped. After the last member everything up to the end of
    the stream has been read, so that whoever hashes the stream has seen all of it.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = b""
        self._position = 0
        self._left = 0  # stored bytes of the current member, padding included
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        records: dict[bytes, bytes] = _NO_RECORDS
        shared: dict[bytes, bytes] = {}
        long_name = long_link = None
        while (header := self._next_header()) is not None:
            kind = header[156:157]
            if kind == b"x":
                records = _parse_records(self._extended(header))
            elif kind == b"g":
                shared |= _parse_records(self._extended(header))
            elif kind == b"L":
                long_name = self._extended(header).partition(b"\0")[0]
            elif kind == b"K":
                long_link = self._extended(header).partition(b"\0")[0]
            else:
                if shared:
                    records = shared | records
                member = self._member(header, kind, records, long_name, long_link)
                records, long_name, long_link = _NO_RECORDS, None, None
                yield member
                self._skip_rest()
        self._drain()

    def read_content(self, member: Member) -> bytes:
        """Return the whole content of a small regular file, holes filled."""
        if member.extents is not None:
            return b"".join(self.pieces(member, _PIECE))
        data = self._take(member.size)
        self._left -= member.size
        return data

    def pieces(self, member: Member, length: int) -> Iterator[bytes]:
        """Yield the content of a regular file in pieces of exactly ``length`` bytes.

        The last piece may be shorter. Memory is bounded by ``length``, whatever the
        size, and however the holes of a sparse file lie.
        """
        if member.extents is None:
            for start in range(0, member.size, length):
                take = min(length, member.size - start)
                self._left -= take
                yield self._take(take)
            return
        piece = bytearray()
        for data in self._sparse_pieces(member):
            piece += data
            while len(piece) >= length:
                yield bytes(piece[:length])
                del piece[:length]
        if piece:
            yield bytes(piece)

    def _sparse_pieces(self, member: Member) -> Iterator[bytes]:
        position = 0
        for offset, size in (*(member.extents or ()), (member.size, 0)):
            for start in range(position, offset, _PIECE):
                yield bytes(min(_PIECE, offset - start))
            for start in range(0, size, _PIECE):
                take = min(_PIECE, size - start)
                self._left -= take
                yield self._take(take)
            position = offset + size

    def _member(
        self,
        header: bytes,
        kind: bytes,
        records: dict[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Member:
        is_posix = header[257:263] == b"ustar\0"
        name = header[:100].partition(b"\0")[0]
        if is_posix and header[345] != 0:
            name = header[345:500].partition(b"\0")[0] + b"/" + name
        if long_name is not None:
            name = long_name
        link = long_link if long_link is not None else _text(header[157:257])
        stored = _number(header[124:136])
        mtime, mtime_ns = _number(header[136:148]), 0
        uid, gid = _number(header[108:116]), _number(header[116:124])
        xattrs: tuple[tuple[bytes, bytes], ...] = ()
        if records:
            name = records.get(b"path", name)
            link = records.get(b"linkpath", link)
            stored = _decimal(records, b"size", stored)
            uid = _decimal(records, b"uid", uid)
            gid = _decimal(records, b"gid", gid)
            if b"mtime" in records:
                mtime, mtime_ns = _parse_time(records[b"mtime"])
            xattrs = tuple(
                sorted(
                    (key[13:], value)
                    for key, value in records.items()
                    if key.startswith(b"SCHILY.xattr.")
                )
            )
        if kind in _DATALESS_FLAGS:
            stored = 0  # POSIX: a size here means nothing; no data blocks follow
        self._left, self._padding = stored, -stored % BLOCK
        extents, size = self._extents(header, kind, records, stored)
        if extents is not None:
            name = records.get(b"GNU.sparse.name", name)
        elif kind not in _REGULAR_FLAGS:
            size = 0
        if kind in _REGULAR_FLAGS:
            # Before POSIX there was no flag for directories, only the slash.
            kind = DIRECTORY if name.endswith(b"/") and not stored else REGULAR
        device = _NO_DEVICE
        if kind in (CHARACTER, BLOCK_DEVICE):
            device = (_number(header[329:337]), _number(header[337:345]))
        mode = _number(header[100:108]) & 0o7777
        return Member(
            name.rstrip(b"/") or name[:1], kind, mode, uid, gid, size, mtime, mtime_ns,
            link, device, xattrs, extents,
        )  # fmt: skip

    def _extents(
        self, header: bytes, kind: bytes, records: dict[bytes, bytes], stored: int
    ) -> tuple[tuple[tuple[int, int], ...] | None, int]:
        """Return the map of a sparse file and its real size, or ``None`` and the size.

        Source: GNU tar manual, "Storing Sparse Files": old GNU keeps the map in the
        header and in blocks behind it, PAX 0.0 and 0.1 in records, 1.0 in the data.
        """
        if kind == b"S":
            values = self._map_in_headers(header)
            size = _number(header[483:495])
        elif records.get(b"GNU.sparse.major") == b"1":
            values = self._map_in_data()
            size = _decimal(records, b"GNU.sparse.realsize", 0)
        elif b"GNU.sparse.map" in records:
            numbers = [
                _parse_decimal(part)
                for part in records[b"GNU.sparse.map"].split(b",")
                if part
            ]
            values = list(zip(numbers[::2], numbers[1::2], strict=False))
            size = _decimal(records, b"GNU.sparse.size", 0)
        else:
            return None, stored
        end = 0
        for offset, length in values:
            if offset < end or offset + length > size:
                raise DamagedTar("tar: the extents of a sparse file do not fit it")
            end = offset + length
        if sum(length for _, length in values) != self._left:
            raise DamagedTar("tar: the extents of a sparse file do not fit its data")
        return tuple(values), size

    def _map_in_headers(self, header: bytes) -> list[tuple[int, int]]:
        values: list[tuple[int, int]] = []
        block, begin, end, more = header, 386, 482, header[482]
        while True:
            for at in range(begin, end, 24):
                if block[at : at + 12].strip(b"\0 "):
                    offset = _number(block[at : at + 12])
                    values.append((offset, _number(block[at + 12 : at + 24])))
            if not more:
                return values
            if len(values) > _SPARSE_EXTENTS_LIMIT:
                raise DamagedTar("tar: a sparse file has too many extents")
            block, begin, end = self._take(BLOCK), 0, 504
            more = block[504]

    def _map_in_data(self) -> list[tuple[int, int]]:
        text = bytearray()
        wanted = None
        while wanted is None or text.count(b"\n") < wanted:
            if len(text) > 32 * _SPARSE_EXTENTS_LIMIT or self._left < BLOCK:
                raise DamagedTar("tar: the map of a sparse file has no end")
            text += self._take(BLOCK)
            self._left -= BLOCK
            if wanted is None and b"\n" in text:
                wanted = 1 + 2 * _parse_decimal(bytes(text[: text.index(b"\n")]))
        numbers = [_parse_decimal(part) for part in bytes(text).split(b"\n")[1:wanted]]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _extended(self, header: bytes) -> bytes:
        size = _number(header[124:136])
        if size > _EXTENDED_HEADER_LIMIT:
            raise DamagedTar(f"tar: an extended header of {size} bytes is too long")
        data = self._take(size)
        self._take(-size % BLOCK)
        return data

    def _next_header(self) -> bytes | None:
        at = self._position
        header = self._buffer[at : at + BLOCK]
        if len(header) == BLOCK:
            self._position = at + BLOCK
        else:
            header = self._take(BLOCK, may_end=True)
            if not header:
                return None  # some writers leave out the two zero blocks
        if header == _ZERO_BLOCK:
            return None
        stored = _number(header[148:156])
        blank = 32 * 8  # the checksum field counts as spaces
        if sum(header) - sum(header[148:156]) + blank != stored:
            signed = sum(b - 256 if b > 127 else b for b in header)  # noqa: PLR2004
            own = sum(b - 256 if b > 127 else b for b in header[148:156])  # noqa: PLR2004
            if signed - own + blank != stored:
                raise DamagedTar("tar: the checksum of a header is wrong")
        return header

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        """Return exactly ``size`` bytes."""
        end = self._position + size
        if end <= len(self._buffer):
            data = self._buffer[self._position : end]
            self._position = end
            return data
        parts = [self._buffer[self._position :]]
        missing = size - len(parts[0])
        self._buffer, self._position = b"", 0
        while missing:
            block = self._stream.read(_PIECE)
            if not block:
                if may_end and missing == size:
                    return b""
                raise DamagedTar("tar: the layer ends in the middle of an entry")
            parts.append(block[:missing])
            if len(block) > missing:
                self._buffer, self._position = block, missing
                break
            missing -= len(block)
        return b"".join(parts)

    def _skip_rest(self) -> None:
        left = self._left + self._padding
        self._left = self._padding = 0
        while left > _PIECE:
            self._take(_PIECE)
            left -= _PIECE
        if left:
            self._take(left)

    def _drain(self) -> None:
        self._buffer = b""
        while self._stream.read(_PIECE):
            pass


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Parse a numeric header field: octal text, or base 256 if the high bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # GNU: 0x80 begins a positive number, 0xff a negative one.
        if field[0] == 0xFF:  # noqa: PLR2004
            return value - (1 << bits)
        return value & ~(1 << (bits - 1))
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise DamagedTar(f"tar: {field!r} is not a number") from None


def _parse_decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004  # 64 bits have 20 digits
        raise DamagedTar(f"tar: {text[:40]!r} is not a number")
    return int(text)


def _decimal(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    return _parse_decimal(records[key]) if key in records else default


def _parse_time(text: bytes) -> tuple[int, int]:
    """Return whole seconds, rounded down, and nanoseconds of a PAX time."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    seconds = _parse_decimal(whole.removeprefix(b"-") or b"0")
    digits = fraction[:_NANOSECONDS_DIGITS].ljust(_NANOSECONDS_DIGITS, b"0")
    nanoseconds = _parse_decimal(digits)
    if negative:
        seconds, nanoseconds = -seconds, -nanoseconds
    return seconds + nanoseconds // 10**9, nanoseconds % 10**9


def _parse_records(data: bytes) -> dict[bytes, bytes]:
    """Parse PAX records, each ``length key=value newline``.

    GNU sparse 0.0 repeats two keys, one pair an extent; they are folded into the
    ``GNU.sparse.map`` that 0.1 has.
    """
    records: dict[bytes, bytes] = {}
    extents: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        if space < 0:
            if not data[at:].strip(b"\0"):
                break
            raise DamagedTar("tar: a PAX record has no length")
        end = at + _parse_decimal(data[at:space])
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1] != 0x0A or not equals:  # noqa: PLR2004
            raise DamagedTar("tar: a PAX record is cut short")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            extents.append(value)
        else:
            records[key] = value
        at = end
    if extents:
        records[b"GNU.sparse.map"] = b",".join(extents)
    return records
