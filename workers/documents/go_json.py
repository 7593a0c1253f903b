"""JSON as Go's ``encoding/json`` reads it into structs.

Registries, docker, podman, containerd and umoci are written in Go, so what they take a
manifest or a config to say is what Go takes it to say:

- a key names a field whatever the case of its letters, by Unicode's simple folding;
- of several keys for one field the last one counts, however it is written; what are
  objects on both sides is put together;
- null leaves a text or a number as it was, and empties a list or a map;
- a value of a wrong type makes the whole document unreadable;
- bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD; a byte order
  mark, NaN and anything behind the document are errors.

Source: go, ``src/encoding/json``: ``decode.go`` (``object``, ``literalStore``,
``unquoteBytes``), ``fold.go``; ``src/time/time.go`` (``UnmarshalJSON``).
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, NoReturn, Self

from workers.errors import PermanentError

# Letters of other alphabets that fold to ASCII: long s and the sign of kelvin.
_FOLDED = {
    0x17F: "s",
    0x212A: "k",
    **{ord("A") + n: chr(ord("a") + n) for n in range(26)},
}
_UNREADABLE_BYTES = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)
_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{1,2}):(\d{2}):(\d{2})([.,]\d+)?(Z|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_NUMBERS_KEPT = 1000
_LONGEST_NAME = 64


class WrongJson(PermanentError):
    """A document that Go does not read, or not into what it should be."""


class JsonKind(Enum):
    """What a field that is only checked may be; the value says what is wrong."""

    TEXT = "no text"
    TRUTH = "neither true nor false"
    TIME = "no time as RFC 3339 writes it"
    SET = "what is no object"

    def holds(self, value: object) -> bool:
        """Tell whether a value, which is not null, is of the kind."""
        match self:
            case JsonKind.TEXT:
                return _is_text(value)
            case JsonKind.TRUTH:
                return isinstance(value, bool)
            case JsonKind.TIME:
                return _is_time(value)
            case (
                JsonKind.SET
            ):  # names that are keys of empty objects, as Go writes sets
                return isinstance(value, _Pairs) and all(
                    one is None or isinstance(one, _Pairs) for _, one in value
                )


class _Number(str):
    """The digits of a number as they stand there."""

    __slots__ = ()


class _Pairs(tuple[tuple[str, Any], ...]):
    """Keys and values of one object, in their order."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Struct:
    """An object whose fields are asked for by name and type.

    What was not said is the type's zero: an empty text, 0, nothing. Each question
    raises ``WrongJson`` where a value is of another type.

    Attributes:
        where: its path in the document, for messages.
    """

    where: str
    _pairs: _Pairs

    @classmethod
    def parse(cls, raw: bytes, where: str) -> Self:
        """Read a document.

        Args:
            raw: all of it.
            where: what it is called in messages.

        Raises:
            WrongJson: it is no JSON, or no object.
        """
        if raw.startswith(b"\xef\xbb\xbf"):
            raise WrongJson(f"{where} begins with a byte order mark, which is no JSON")
        # What lies in long lists is mostly the same, and should cost little.
        number = lru_cache(_NUMBERS_KEPT)(_Number)
        text = raw.decode("utf-8", "surrogateescape").translate(_UNREADABLE_BYTES)
        try:
            document = json.loads(
                text,
                object_pairs_hook=_Pairs,
                parse_int=number,
                parse_float=number,
                parse_constant=_no_number,
            )
        except ValueError as error:
            raise WrongJson(f"{where} is no JSON: {error}") from error
        except RecursionError as error:
            raise WrongJson(f"{where} is JSON that is nested too deeply") from error
        return cls(where, _object(document, where))

    def says(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        said = False
        for value in self._values(name):
            said = value is not None
        return said

    def text(self, name: str) -> str:
        """Return a text."""
        found = ""
        for value in self._values(name):
            found = found if value is None else self._text(value, name)
        return found

    def whole(self, name: str) -> int:
        """Return a whole number of 64 bits."""
        found = 0
        for value in self._values(name):
            if value is None:
                continue
            is_whole = isinstance(value, _Number) and _WHOLE.fullmatch(value)
            if not is_whole or int(value) not in _INT64:
                self._refuse(name, "no whole number of 64 bits")
            found = int(value)
        return found

    def check(self, **kinds: JsonKind) -> None:
        """Check some fields that nobody asks for, as far as they are said."""
        _check(self._pairs, _kinds(kinds), self.where)

    def check_each(self, name: str, **kinds: JsonKind) -> None:
        """Check some fields of the objects in a list, however many those are."""
        path, folded = f"{self._path(name)}[]", _kinds(kinds)
        for value in self._values(name):
            for one in self._list(value, name):
                _check(_object(one, path), folded, path)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; null in it is an empty one."""
        found: tuple[str, ...] = ()
        for value in self._values(name):
            items = self._list(value, name)
            found = tuple("" if one is None else self._text(one, name) for one in items)
        return found

    def text_map(self, name: str) -> Mapping[str, str]:
        """Return texts by name; null for one is an empty one."""
        found: dict[str, str] = {}
        for value in self._values(name):
            if value is None:
                found = {}
                continue
            for key, one in _object(value, self._path(name)):
                found[_cleaned(key)] = "" if one is None else self._text(one, name)
        return found

    def struct(self, name: str) -> "Struct":
        """Return an object in this one."""
        path = self._path(name)
        objects = [_object(value, path) for value in self._values(name)]
        return Struct(path, _Pairs(pair for pairs in objects for pair in pairs))

    def structs(self, name: str) -> tuple["Struct", ...]:
        """Return a list of objects."""
        found: tuple[Struct, ...] = ()
        path = f"{self._path(name)}[]"
        for value in self._values(name):
            items = self._list(value, name)
            found = tuple(Struct(path, _object(one, path)) for one in items)
        return found

    def plain(self, *names: str) -> dict[str, object]:
        """Return those of some fields that are there, as they stand, null included."""
        found: dict[str, object] = {}
        for name in names:
            for value in self._values(name):
                found[name] = _plain(value)
        return found

    def without(self, *names: str) -> dict[str, object]:
        """Return all that stands there but some fields."""
        left_out = set(map(_fold, names))
        pairs = (pair for pair in self._pairs if _fold(pair[0]) not in left_out)
        return _plain_members(pairs)

    def _values(self, name: str) -> Iterator[Any]:
        """Yield what is said of a field, in order."""
        wanted = _fold(name)
        for key, value in self._pairs:
            # Folding keeps the length; most keys are written as they should be.
            if key == name or (len(key) == len(name) and _fold(key) == wanted):
                yield value

    def _path(self, name: str) -> str:
        return f"{self.where}.{name}"

    def _text(self, value: object, name: str) -> str:
        if not isinstance(value, str) or isinstance(value, _Number):
            self._refuse(name, JsonKind.TEXT.value)
        return _cleaned(value)

    def _list(self, value: object, name: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            self._refuse(name, "no list")
        return value

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise WrongJson(f"{self._path(name)} is or holds {what}")


def _object(value: object, where: str) -> _Pairs:
    if value is None:
        return _Pairs()
    if not isinstance(value, _Pairs):
        raise WrongJson(f"{where} is or holds no object")
    return value


def _kinds(kinds: Mapping[str, JsonKind]) -> Mapping[str, JsonKind]:
    return {_fold(name): kind for name, kind in kinds.items()}


def _check(pairs: _Pairs, kinds: Mapping[str, JsonKind], where: str) -> None:
    for key, value in pairs:
        # No field has a longer name, and folding costs.
        kind = kinds.get(_fold(key)) if len(key) < _LONGEST_NAME else None
        if kind is not None and value is not None and not kind.holds(value):
            raise WrongJson(f"{where}.{key} is or holds {kind.value}")


def _plain(value: object) -> object:
    """Return a value as Python's own JSON has it."""
    if isinstance(value, _Pairs):
        return _plain_members(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, _Number):
        return int(value) if _WHOLE.fullmatch(value) else float(value)
    return _cleaned(value) if isinstance(value, str) else value


def _plain_members(pairs: Iterable[tuple[str, Any]]) -> dict[str, object]:
    return {_cleaned(key): _plain(value) for key, value in pairs}


def _fold(key: str) -> str:
    return key.translate(_FOLDED)


def _cleaned(text: str) -> str:
    return _HALF_PAIR.sub("\ufffd", text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, _Number)


def _is_time(value: object) -> bool:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return False
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    try:
        # There was a year 0 by this calendar, and it was a leap year.
        dt.datetime(year or 400, month, day, hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        return False
    return True
