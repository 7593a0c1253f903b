"""What others have written into our records: found, said once, and passed over.

A record that cannot be read must not keep the others from being read, so each reader
takes what it can and leaves out the rest.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

import redis

from workers.reference import InvalidReference, Reference

PREFIX = "cvmfs-webhook:"

log = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")

# What decoding raises that is given bytes which we never wrote. Python says how deeply
# JSON may be nested by a RecursionError.
ODD = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
# Redis's answer for a key that does not run out.
_NO_END = -1
# So many different things are remembered as said.
_SAID = 1000


@lru_cache(_SAID)
def say_once(what: str, why: str) -> None:
    """Log that something of ours cannot be read; the same again is not said."""
    log.warning("%s cannot be read and is passed over: %s", what, why)


def is_name(text: str) -> bool:
    """Whether a text could be the name of something; odd bytes could not."""
    return bool(text) and text.isprintable()


def is_canonical(name: str) -> bool:
    """Whether a text is a reference as we write it, so that a job may be run for it."""
    try:
        return str(Reference.parse(name)) == name
    except InvalidReference:
        return False


def readable(what: str, read: Callable[[U], T], items: Iterable[U]) -> Iterator[T]:
    """Yield what ``read`` makes of each item that it can read.

    Args:
        what: the items are, for the log.
        read: raises one of ``ODD`` for what cannot be read.
        items: as they came.
    """
    for item in items:
        try:
            found = read(item)
        except ODD as exc:
            say_once(f"{what} {item!r:.200}", type(exc).__name__)
        else:
            yield found


def is_wrong_type(reply: object) -> bool:
    """Whether Redis says that another type of value stands in a key."""
    return isinstance(reply, redis.ResponseError) and "WRONGTYPE" in str(reply)


def typed(connection: redis.Redis, key: str, ask: Callable[[], T]) -> T:
    """Return the answer to a question about a key that is ours.

    What stands there instead of a value of the right type is put aside first.
    """
    try:
        return ask()
    except redis.ResponseError as exc:
        if not is_wrong_type(exc):
            raise
        say_once(key, str(exc))
        connection.rename(key, f"{PREFIX}set-aside:{key}")
        return ask()


def drop_endless(connection: redis.Redis, key: str, longest_seconds: float) -> None:
    """Take a claim away that lasts longer than any of ours, or for ever.

    Others may have written it; nobody would get what it is for any more.
    """
    left = connection.pttl(key)
    if left == _NO_END or left > longest_seconds * 1000:
        say_once(key, "it is claimed for longer than anybody does that")
        connection.delete(key)
