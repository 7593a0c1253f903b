"""A large JSON document without what nobody reads of it. Pure.

Some kilobytes are used of a notification that may have megabytes: a registry passes on
whatever a client calls itself, and the annotations of what was pushed. What is not
wanted is gone over as bytes, so that it costs neither objects nor a decoded text.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# What has a meaning in a part that is kept: texts, and the marks outside of them.
_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)
_NEXT_BRACKET = re.compile(
    rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL
)
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_OTHER_VALUE = re.compile(rb'[^\[\]{},"]*+')


class TooMuchWanted(ValueError):
    """More than is kept of a document is left of it."""


class TooDeep(ValueError):
    """A document is nested deeper than it may be."""


def property_names(schema: object) -> frozenset[str]:
    """Return the names of all properties that a JSON Schema speaks of."""
    names: set[str] = set()
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            names.update(properties)
        for part in schema.values():
            names |= property_names(part)
    return frozenset(names)


def wanted_fields(
    body: bytes, wanted: frozenset[str], *, deepest: int, most_bytes: int
) -> bytes:
    """Return a JSON document in which every value is null whose key is not wanted.

    Of the values that go only quotes and brackets are looked at. What is no JSON
    elsewhere is left as it is, for whoever reads the rest to refuse.

    Args:
        body: UTF-8.
        wanted: keys, wherever they stand.
        deepest: levels of nesting, also of what goes.
        most_bytes: of the document that is left.

    Raises:
        TooMuchWanted: more is left.
        TooDeep: see ``deepest``.
    """
    kept: list[bytes] = []
    size = done = place = 0
    brackets = _Brackets(deepest)
    while match := _MARK.search(body, place):
        place = match.end()
        if size + place - done > most_bytes:
            raise TooMuchWanted
        is_key = brackets.is_key(match[0])
        colon = _COLON.match(body, place) if is_key else None
        if colon is None or _name(match[0]) in wanted:
            continue
        place = _end_of_value(body, colon.end(), brackets.levels_left)
        kept += body[done : colon.end()], b"null"
        size += colon.end() - done + len(b"null")
        done = place
    if size + len(body) - done > most_bytes:
        raise TooMuchWanted
    kept.append(body[done:])
    return b"".join(kept)


class _Brackets:
    """Which brackets are open, so that keys are told from other texts."""

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        # Of each that is open, whether it is an object's.
        self._is_object: list[bool] = []
        self._expects_key = False

    @property
    def levels_left(self) -> int:
        return self._deepest - len(self._is_object)

    def is_key(self, mark: bytes) -> bool:
        """Take the next mark; tell whether it is a key."""
        if mark in {b"[", b"{"}:
            if not self.levels_left:
                raise TooDeep
            self._is_object.append(mark == b"{")
        elif mark in {b"]", b"}"}:
            if self._is_object:
                self._is_object.pop()
        elif mark != b",":
            was_expected, self._expects_key = self._expects_key, False
            return was_expected
        is_first = mark in {b"{", b","}
        self._expects_key = is_first and bool(self._is_object) and self._is_object[-1]
        return False


def _name(key: bytes) -> Any:
    if b"\\" not in key:
        return key[1:-1].decode(errors="replace")
    try:
        return json.loads(key)
    except ValueError:
        return None


def _end_of_value(body: bytes, start: int, deepest: int) -> int:
    """Return where the value ends that begins at ``start``."""
    first = body[start : start + 1]
    if first == b'"':
        text = _TEXT.match(body, start)
        return len(body) if text is None else text.end()
    if first not in {b"[", b"{"}:
        other = _OTHER_VALUE.match(body, start)
        return start if other is None else other.end()
    depth, place = 0, start
    while bracket := _NEXT_BRACKET.match(body, place):
        place = bracket.end()
        depth += 1 if bracket[1] in b"[{" else -1
        if depth > deepest:
            raise TooDeep
        if depth == 0:
            return place
    return len(body)
