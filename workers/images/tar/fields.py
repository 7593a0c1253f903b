"""Numbers, times and PAX records, as tar headers hold them.

Source: POSIX.1-2017 pax, "ustar Interchange Format", "pax Header Block" and "pax
Extended Header Keyword/Value Pairs"; GNU tar manual, "Basic Tar Format" (base 256).
"""

from functools import lru_cache

from workers.errors import PermanentError
from workers.images.rejected import printable

Records = dict[bytes, bytes]

# Old GNU and PAX 0.0 say where the extents of a sparse file lie in repeated records.
SPARSE_MAP = b"GNU.sparse.map"
_SPARSE_EXTENT = frozenset({b"GNU.sparse.offset", b"GNU.sparse.numbytes"})

_POSITIVE, _NEGATIVE = 0x80, 0xFF  # first bytes of base 256
_LONGEST_NUMBER = 20  # digits of the largest 64 bit number
# What Go's archive/tar, and so every runtime, holds a size in.
_LARGEST_SIZE = (1 << 63) - 1
_NANOSECONDS_DIGITS = 9
_NEWLINE = 0x0A


class DamagedTar(PermanentError):
    """A layer that no tar reader could read."""

    is_open = True


# Most entries of a layer share their owner, their mode and often their time.
@lru_cache(maxsize=1024)
def parse_number(field: bytes) -> int:
    """Parse a numeric header field: octal text, or base 256 if the high bit is set."""
    if field[0] & _POSITIVE:
        value = int.from_bytes(field, "big")
        if field[0] == _NEGATIVE:
            return value - (1 << 8 * len(field))
        return value & ~(1 << 8 * len(field) - 1)
    # Blanks before, a blank or NUL behind; some writers leave rubbish after the NUL.
    text = field.lstrip(b"\0 ").partition(b"\0")[0].rstrip(b" ")
    if not text:
        return 0
    if not text.isdigit():  # int() would take signs and underscores
        raise DamagedTar(f"tar: {printable(field)} is not a number")
    try:
        return int(text, 8)
    except ValueError:
        raise DamagedTar(f"tar: {printable(field)} is not a number") from None


def checked_size(size: int, what: str = "an entry") -> int:
    """Return the size of something, whichever dialect says it.

    Raises:
        DamagedTar: it is negative, or 64 bits do not hold it.
    """
    if not 0 <= size <= _LARGEST_SIZE:
        raise DamagedTar(f"tar: {what} of {size} bytes")
    return size


def parse_decimal(text: bytes) -> int:
    """Parse a number of a PAX record; never negative.

    It may have a plus, as all that Go's ``strconv.ParseInt`` reads.
    """
    return _digits(text.removeprefix(b"+"), text)


def parse_owner(text: bytes) -> int:
    """Parse the owner of a PAX record, which some writers give as -1 or -2."""
    if text.startswith(b"-"):
        return -_digits(text[1:], text)
    return parse_decimal(text)


def parse_time(text: bytes) -> tuple[int, int]:
    """Return whole seconds, rounded down, and nanoseconds of a PAX time.

    Digits beyond the nanoseconds are dropped.
    """
    is_negative = text.startswith(b"-")
    whole, point, fraction = text[text[:1] in (b"-", b"+") :].partition(b".")
    if point and fraction and not fraction.isdigit():
        raise DamagedTar(f"tar: {printable(text[:40])} is not a time")
    seconds = _digits(whole, text)
    nanoseconds = 0
    if fraction:
        digits = fraction[:_NANOSECONDS_DIGITS].ljust(_NANOSECONDS_DIGITS, b"0")
        nanoseconds = int(digits)
    if not is_negative:
        return seconds, nanoseconds
    borrowed, nanoseconds = divmod(-nanoseconds, 10**9)
    return borrowed - seconds, nanoseconds


def _digits(digits: bytes, text: bytes) -> int:
    if not digits.isdigit() or len(digits) > _LONGEST_NUMBER:
        raise DamagedTar(f"tar: {printable(text[:40])} is not a number")
    return int(digits)


def parse_records(data: bytes) -> Records:
    """Parse PAX records, each ``length key=value newline``.

    GNU sparse 0.0 repeats two keys, one pair an extent; they are folded into the
    ``GNU.sparse.map`` that 0.1 has.
    """
    records: Records = {}
    extents: list[bytes] = []
    at, end_of_data = 0, len(data)
    while at < end_of_data:
        space = data.find(b" ", at, at + _LONGEST_NUMBER + 1)
        if space < 0 or not data[at:space].isdigit():
            if not data[at:].strip(b"\0"):
                break  # padding
            raise DamagedTar("tar: a PAX record has no length")
        end = at + int(data[at:space])
        equals = data.find(b"=", space, end)
        if end > end_of_data or equals < 0 or data[end - 1] != _NEWLINE:
            raise DamagedTar("tar: a PAX record is cut short")
        key, value = data[space + 1 : equals], data[equals + 1 : end - 1]
        if key in _SPARSE_EXTENT:
            extents.append(value)
        else:
            records[key] = value
        at = end
    if extents:
        records[SPARSE_MAP] = b",".join(extents)
    return records
