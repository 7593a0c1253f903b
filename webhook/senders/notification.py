"""From the bytes of an authenticated notification to its events. Pure.

Each step has its bound, and whatever the bytes are, the outcome is events or
``UnreadableNotification``. Numbers, names and depth that another parser would read
otherwise are refused rather than guessed at.
"""

import codecs
import json
import re
from itertools import islice
from typing import Any, NoReturn

from webhook.senders.event import PushEvent
from webhook.senders.sender import Sender
from webhook.senders.wanted_fields import (
    TooDeep,
    TooMuchWanted,
    property_names,
    wanted_fields,
)
from workers.config import Limits, SourceConfig
from workers.documents.schema_check import schema_problems
from workers.errors import PermanentError

# Up to this size looking for what can be left out takes longer than reading it.
_SMALL_BYTES = 65_536
# A text, or a bracket outside of one. A text that never ends takes the rest: giving it
# up and starting again at each of its quotes would take the square of its length.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


class UnreadableNotification(PermanentError):
    """A notification that we cannot make anything of.

    Attributes:
        status: the HTTP status that says so.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class TooLargeNotification(UnreadableNotification):
    """A notification of which more would be kept than may be, or none was read."""

    def __init__(self) -> None:
        super().__init__(413, "the notification is too large")


class _NotStrict(ValueError):
    """JSON that the library would read and we do not."""


def read_notification(
    body: bytes, sender: Sender, source: SourceConfig, limits: Limits
) -> list[PushEvent]:
    """Return the events of a notification, in its order.

    Raises:
        UnreadableNotification: with one line for the sender's administrator.
    """
    schema = sender.schema()
    body = body.removeprefix(codecs.BOM_UTF8)
    if len(body) > _SMALL_BYTES:
        body = _without_unread(body, property_names(schema.schema), limits)
    document = parse_json(body, limits.json_depth)
    if not schema.is_valid(document):
        where, text = schema_problems(schema, document)[0]
        key = ".".join(str(part) for part in where) or "document"
        raise UnreadableNotification(400, f"{key}: {text}")
    # One more than we take is looked at, and no further.
    events = list(islice(sender.parse(document, source), limits.events + 1))
    if len(events) > limits.events:
        raise UnreadableNotification(
            413, f"more than {limits.events} events in one notification"
        )
    return events


def parse_json(body: bytes, deepest: int) -> object:
    """Return the JSON document in ``body``, which must be UTF-8.

    Raises:
        UnreadableNotification: also for keys that stand twice, NaN, infinities, and
            more than ``deepest`` levels of nesting.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        reason = f"the body is not UTF-8: byte {exc.start} is wrong"
        raise UnreadableNotification(400, reason) from exc
    _check_depth(text, deepest)
    try:
        document: object = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        reason = f"the body is not JSON: {exc.msg} at character {exc.pos}"
        raise UnreadableNotification(400, reason) from exc
    except _NotStrict as exc:
        raise UnreadableNotification(400, f"the body is not JSON: {exc}") from exc
    except ValueError as exc:
        # Python reads integers of up to 4300 digits only, for its own protection.
        reason = "the body is not JSON: a number has too many digits"
        raise UnreadableNotification(400, reason) from exc
    return document


def largest_bytes(sender: Sender, limits: Limits) -> int:
    """Return the size up to which a notification of a kind is taken from the wire."""
    return max(limits.body_bytes, sender.HABITS.largest_bytes)


def _without_unread(body: bytes, wanted: frozenset[str], limits: Limits) -> bytes:
    try:
        return wanted_fields(
            body, wanted, deepest=limits.json_depth, most_bytes=limits.body_bytes
        )
    except TooMuchWanted as exc:
        raise TooLargeNotification from exc
    except TooDeep as exc:
        raise _nested_deeper(limits.json_depth) from exc


def _nested_deeper(deepest: int) -> UnreadableNotification:
    reason = f"the body is nested deeper than {deepest} levels"
    return UnreadableNotification(400, reason)


def _check_depth(text: str, deepest: int) -> None:
    """Refuse deep nesting before the parser, which recurses, sees it."""
    if text.count("[") + text.count("{") <= deepest:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        char = match[0][0]
        if char in "[{":
            depth += 1
            if depth > deepest:
                raise _nested_deeper(deepest)
        elif char != '"':
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _NotStrict(f"the key {key[:100]!a} stands twice")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise _NotStrict(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise _NotStrict(f"the number {digits[:40]} is out of range")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)
