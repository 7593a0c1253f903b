"""Tar files written by hand, for what ``tarfile`` cannot or will not write.

Every function returns the bytes of one whole entry; ``tar`` puts entries together::

    tar(
        directory(b"bin/"),
        file(b"bin/sh", b"#!", mode=0o755, mtime=-1),
        pax({b"mtime": b"1.5"}, file(b"a", b"")),
        whiteout(b"etc/passwd"),
    )

Nothing is checked and nothing is helped along: a name of 200 bytes is cut at 100 unless
``gnu_name`` or ``pax`` stands in front.

Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"
and "Storing Sparse Files".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict, Unpack

BLOCK = 512
USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
OLD = bytes(8)  # before POSIX there was no magic

Extents = Sequence[tuple[int, bytes]]


class Fields(TypedDict, total=False):
    """What may be said of any entry; numbers out of octal's reach go as base 256."""

    mode: int
    uid: int
    gid: int
    mtime: int
    magic: bytes
    prefix: bytes
    size: int  # lie about it
    checksum: int  # lie about it


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(2 * BLOCK)


def file(name: bytes, data: bytes = b"", **fields: Unpack[Fields]) -> bytes:
    return member(name, b"0", data, **fields)


def directory(name: bytes, **fields: Unpack[Fields]) -> bytes:
    fields.setdefault("mode", 0o755)
    return member(name, b"5", **fields)


def symlink(name: bytes, target: bytes, **fields: Unpack[Fields]) -> bytes:
    fields.setdefault("mode", 0o777)
    return member(name, b"2", link=target, **fields)


def hard_link(name: bytes, target: bytes, **fields: Unpack[Fields]) -> bytes:
    return member(name, b"1", link=target, **fields)


def character_device(
    name: bytes, major: int, minor: int, **fields: Unpack[Fields]
) -> bytes:
    return member(name, b"3", device=(major, minor), **fields)


def block_device(
    name: bytes, major: int, minor: int, **fields: Unpack[Fields]
) -> bytes:
    return member(name, b"4", device=(major, minor), **fields)


def fifo(name: bytes, **fields: Unpack[Fields]) -> bytes:
    return member(name, b"6", **fields)


def whiteout(path: bytes) -> bytes:
    """Return the entry that deletes ``path`` from the layers below."""
    parent, slash, name = path.rpartition(b"/")
    return file(parent + slash + b".wh." + name, mode=0)


def opaque(path: bytes) -> bytes:
    """Return the entry that hides what the layers below have in directory ``path``."""
    return file((path + b"/" if path else b"") + b".wh..wh..opq", mode=0)


def gnu_name(name: bytes, entry: bytes) -> bytes:
    """Put GNU's long name in front of an entry."""
    return member(b"././@LongLink", b"L", name + b"\0", magic=GNU) + entry


def gnu_link(target: bytes, entry: bytes) -> bytes:
    """Put GNU's long link target in front of an entry."""
    return member(b"././@LongLink", b"K", target + b"\0", magic=GNU) + entry


Records = Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]


def pax(records: Records, entry: bytes = b"", kind: bytes = b"x") -> bytes:
    """Put a PAX header in front of an entry; ``kind`` is ``b"g"`` for a global one."""
    return member(b"PaxHeaders/0", kind, pax_records(records)) + entry


def pax_records(records: Records) -> bytes:
    pairs = records.items() if isinstance(records, Mapping) else records
    return b"".join(pax_record(key, value) for key, value in pairs)


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    # The length counts its own digits.
    while length != len(b"%d" % length) + len(body):
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def xattrs(values: Mapping[bytes, bytes], entry: bytes) -> bytes:
    records = {b"SCHILY.xattr." + name: value for name, value in values.items()}
    return pax(records, entry)


def old_gnu_sparse(
    name: bytes, real_size: int, extents: Extents, **fields: Unpack[Fields]
) -> bytes:
    """Return a sparse file as GNU tar wrote it until 2004: the map in the headers."""
    places = [(offset, len(data)) for offset, data in extents]
    places.append((real_size, 0))  # GNU tar ends the map so
    data = b"".join(data for _, data in extents)
    first, rest = places[:4], places[4:]
    tail = b"".join(number(value, 12) for place in first for value in place)
    tail = tail.ljust(96, b"\0") + (b"\1" if rest else b"\0") + number(real_size, 12)
    fields.setdefault("magic", GNU)
    fields.setdefault("size", len(data))
    blocks = [member(name, b"S", b"", tail=(386, tail), **fields)]
    while rest:
        here, rest = rest[:21], rest[21:]
        block = b"".join(number(value, 12) for place in here for value in place)
        blocks.append(block.ljust(504, b"\0") + (b"\1" if rest else b"\0") + bytes(7))
    return b"".join(blocks) + padded(data)


def pax_sparse(
    name: bytes,
    real_size: int,
    extents: Extents,
    version: str,
    **fields: Unpack[Fields],
) -> bytes:
    """Return a sparse file as PAX: version ``0.0``, ``0.1`` or ``1.0``."""
    places = [(offset, len(data)) for offset, data in extents]
    data = b"".join(data for _, data in extents)
    records: list[tuple[bytes, bytes]] = []
    if version == "0.0":
        records += [
            (b"GNU.sparse.size", b"%d" % real_size),
            (b"GNU.sparse.numblocks", b"%d" % len(places)),
        ]
        for offset, length in places:
            records.append((b"GNU.sparse.offset", b"%d" % offset))
            records.append((b"GNU.sparse.numbytes", b"%d" % length))
        return pax(records, file(name, data, **fields))
    hidden = b"GNUSparseFile.0/" + name[:50]
    records.append((b"GNU.sparse.name", name))
    if version == "0.1":
        numbers = b",".join(b"%d,%d" % place for place in places)
        records += [
            (b"GNU.sparse.size", b"%d" % real_size),
            (b"GNU.sparse.numblocks", b"%d" % len(places)),
            (b"GNU.sparse.map", numbers),
        ]
        return pax(records, file(hidden, data, **fields))
    records += [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.realsize", b"%d" % real_size),
    ]
    lines = b"".join(b"%d\n%d\n" % place for place in places)
    plan = padded(b"%d\n" % len(places) + lines)
    return pax(records, file(hidden, plan + data, **fields))


def member(
    name: bytes,
    kind: bytes,
    data: bytes = b"",
    *,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    tail: tuple[int, bytes] | None = None,
    **fields: Unpack[Fields],
) -> bytes:
    """Return any entry. ``tail`` overwrites the header from an offset on."""
    magic = fields.get("magic", USTAR)
    header = bytearray(BLOCK)
    header[0:100] = name[:100].ljust(100, b"\0")
    header[100:108] = number(fields.get("mode", 0o644), 8)
    header[108:116] = number(fields.get("uid", 0), 8)
    header[116:124] = number(fields.get("gid", 0), 8)
    header[124:136] = number(fields.get("size", len(data)), 12)
    header[136:148] = number(fields.get("mtime", 0), 12)
    header[156:157] = kind
    header[157:257] = link[:100].ljust(100, b"\0")
    header[257:265] = magic
    if magic != OLD:
        header[329:337] = number(device[0], 8)
        header[337:345] = number(device[1], 8)
    header[345:500] = fields.get("prefix", b"").ljust(155, b"\0")
    if tail is not None:
        offset, value = tail
        header[offset : offset + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % fields.get("checksum", sum(header))
    return bytes(header) + padded(data)


def number(value: int, width: int) -> bytes:
    """Return a numeric field: octal where it fits, else GNU's base 256."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    whole = value.to_bytes(width, "big", signed=value < 0)
    return whole if value < 0 else bytes([whole[0] | 0x80]) + whole[1:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)
