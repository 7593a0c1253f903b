"""Sizes and times as people write and read them: ``20GiB``, ``15m``."""

import re
from datetime import UTC, datetime
from typing import overload

from workers.errors import PermanentError

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kKMGT]?i?B)?", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class BadQuantity(PermanentError):
    """A text that is no size, or no time."""


def parse_size(text: str) -> int:
    """Return the bytes of ``20GiB`` (powers of 1024), ``20GB`` (of 1000) or ``20``."""
    match = _SIZE.fullmatch(text)
    unit = (match[2] or "B") if match else ""
    if match is None or unit == "iB":
        raise BadQuantity(f"{text[:100]!r} is no size: write 20GiB, 500MB or bytes")
    prefix = unit[:-1]
    base = 1024 if prefix.endswith("i") else 1000
    return int(float(match[1]) * base ** _POWERS[prefix.removesuffix("i").upper()])


def parse_duration(text: str) -> int:
    """Return the seconds of ``45s``, ``15m``, ``12h``, ``30d`` or ``2w``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadQuantity(f"{text[:100]!r} is no time: write 45s, 15m, 12h, 30d or 2w")
    return int(match[1]) * _SECONDS[match[2]]


@overload
def iso_time(seconds: float) -> str: ...
@overload
def iso_time(seconds: None) -> None: ...
@overload
def iso_time(seconds: float | None) -> str | None: ...
def iso_time(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the second: ``2026-01-31T12:00:00Z``."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)
    return moment.isoformat().replace("+00:00", "Z")
