"""Extended attributes as a catalog stores them: one blob per row.

Layout: ``u8 version = 1, u8 count``, then ``count`` times ``u8 length of name, u8
length of value, name, value``. All lengths are one byte, so a value of 256 bytes, a
name of 256 bytes or a 256th attribute cannot be stored; an empty name would make
clients drop all attributes of the row. A row without attributes has NULL, not a blob
of none.

Source: cvmfs/xattr.cc; cvmfs-format.md sections 3.3 and trap 14.
"""

from workers.cvmfs.errors import Malformed

Xattrs = tuple[tuple[bytes, bytes], ...]

_VERSION = 1
_MAX_BYTE = 255
_HEADER_SIZE = 2


def encode_xattrs(xattrs: Xattrs) -> tuple[bytes | None, int]:
    """Encode attributes, sorted by name as CernVM-FS does.

    Returns:
        The blob, ``None`` when nothing is left to store, and how many attributes had
        to be left out because the format cannot hold them.
    """
    kept = [
        (name, value)
        for name, value in sorted(xattrs)
        if 0 < len(name) <= _MAX_BYTE and len(value) <= _MAX_BYTE and b"\0" not in name
    ][:_MAX_BYTE]
    lost = len(xattrs) - len(kept)
    if not kept:
        return None, lost
    pieces = [bytes((_VERSION, len(kept)))]
    for name, value in kept:
        pieces += (bytes((len(name), len(value))), name, value)
    return b"".join(pieces), lost


def decode_xattrs(blob: bytes) -> Xattrs:
    """Decode the blob of a row.

    Raises:
        Malformed: another version, a cut, an empty name, or bytes left over.
    """
    if len(blob) < _HEADER_SIZE or blob[0] != _VERSION:
        raise Malformed(f"not a list of extended attributes: {blob[:16].hex()}")
    xattrs = []
    position = _HEADER_SIZE
    for _ in range(blob[1]):
        if position + 2 > len(blob):
            raise Malformed("list of extended attributes is cut short")
        name_end = position + 2 + blob[position]
        value_end = name_end + blob[position + 1]
        name = blob[position + 2 : name_end]
        if value_end > len(blob) or not name:
            raise Malformed("extended attribute is cut short or has no name")
        xattrs.append((name, blob[name_end:value_end]))
        position = value_end
    if position != len(blob):
        raise Malformed("bytes after the list of extended attributes")
    return tuple(sorted(xattrs))
