"""Single values of our records: what they may be, whoever wrote them. Pure.

Each function takes what JSON or a field of a hash says and returns the value, or raises
one of ``odd.ODD``.
"""

import json
import math
from typing import Any

_LARGEST = 2**63
# The first second that no calendar of Python's has.
_END_OF_TIME = 253_402_300_800


def text(value: object) -> str:
    """Return a text that UTF-8 can carry; senders' JSON may hold surrogates."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.50} is no text")
    return value.encode(errors="replace").decode()


def line(value: object) -> str:
    """Return a text without anything that a terminal would not print."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r:.50} is no line")
    return value


def some_text(value: object) -> str | None:
    """Return a text, or None for None."""
    return None if value is None else text(value)


def number(value: object) -> float:
    """Return a number that is one and has some bound."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{value!r:.50} is no number")
    found = float(value)
    if not math.isfinite(found) or abs(found) > _LARGEST:
        raise ValueError(f"{value!r:.50} is no number of ours")
    return found


def time(value: object) -> float:
    """Return seconds since the epoch, of which there is a calendar."""
    seconds = number(value)
    if not 0 <= seconds < _END_OF_TIME:
        raise ValueError(f"{value!r:.50} is no time")
    return seconds


def count(value: object) -> int:
    """Return a whole number that is not negative."""
    found = number(value)
    if found < 0 or found != int(found):
        raise ValueError(f"{value!r:.50} is no count")
    return int(value) if isinstance(value, str | int) else int(found)


def flag(value: object) -> bool:
    """Return what a field says that is there, as 1, or is not."""
    if value != "1":
        raise ValueError(f"{value!r:.50} is no flag")
    return True


def json_object(said: str) -> dict[str, Any]:
    """Return a JSON object."""
    value = json.loads(said)
    if not isinstance(value, dict):
        raise TypeError("it is no JSON object")
    return value
