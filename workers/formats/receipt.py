"""The receipt of a publication: what we say of it beside its name, as JSON.

A run compares it with what is to be live; equal means unchanged. Read next:
``documents.py`` (where it lies), ``history.py`` (what becomes of it later).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from workers.images.platforms import Platform
from workers.reference import InvalidReference, Reference, parse_digest

CONVERTER = 3
"""Version of our conversion. It is raised when what we write of the same image changes;
then what an older one has made is made again."""

_KEYS = frozenset(
    {
        "converter",
        "digest",
        "platforms",
        "formats",
        "instead_of",
        "thin",
        "former_thin",
        "until",
        "notes",
        "lacking",
    }
)
# Of the time when there was one format only, and receipts did not say.
_FIRST_FORMATS = ("flat",)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is said of a publication; an empty one stands for none.

    Attributes:
        digest: that was published, the registry's; of an index, if it is one.
        converter: version of our conversion that made it.
        platforms: that the name was published for.
        formats: that were published, sorted.
        restored_instead_of: the digest that the registry had when ``digest`` was
            restored in its place.
        thin: the reference under which its thin image is pushed.
        former_thin: references under which thin images are that have to be deleted.
        until: unix time at which it was live no more; of what is remembered.
        notes: what has to be known of it, in short sentences. They are found out in
            making it, and make no difference.
        lacking: formats that were wanted and that the image cannot be had in, sorted.
            They are found out in making it, too.
        unknown: what a later version has added. It stays where the receipt is written
            again, and makes no difference.
    """

    digest: str | None = None
    converter: int | None = None
    platforms: tuple[Platform, ...] = ()
    formats: tuple[str, ...] = ()
    restored_instead_of: str | None = None
    thin: Reference | None = None
    former_thin: tuple[Reference, ...] = ()
    until: float | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)
    lacking: tuple[str, ...] = field(default=(), compare=False)
    unknown: Mapping[str, object] = field(default_factory=dict, compare=False)

    @property
    def held(self) -> tuple[str, ...]:
        """The formats that were wanted and are there."""
        return tuple(name for name in self.formats if name not in self.lacking)

    @property
    def is_multiarch(self) -> bool:
        """Whether the name stands for several platforms, be they all there or not."""
        return len(self.platforms) > 1

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """Return the receipt, or None if it is not one.

        What is damaged in it counts as not said, and only costs that.
        """
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict):
            return None
        converter, until = said.get("converter"), said.get("until")
        platforms = map(Platform.parse, _texts(said.get("platforms")))
        return cls(
            digest=_digest(said.get("digest")),
            converter=converter if isinstance(converter, int) else None,
            platforms=tuple(platforms),
            formats=tuple(_texts(said.get("formats"))) or _FIRST_FORMATS,
            restored_instead_of=_digest(said.get("instead_of")),
            thin=next(_references([said.get("thin")]), None),
            former_thin=tuple(_references(said.get("former_thin"))),
            until=float(until) if isinstance(until, int | float) else None,
            notes=tuple(_texts(said.get("notes"))),
            lacking=tuple(_texts(said.get("lacking"))),
            unknown={key: said[key] for key in said.keys() - _KEYS},
        )

    def document(self) -> bytes:
        """Return the file that is published; ``parse`` reads it back."""
        said: dict[str, object] = {
            **self.unknown,
            "converter": self.converter,
            "digest": self.digest,
            "formats": list(self.formats) or None,
            "platforms": list(map(str, self.platforms)) or None,
            "instead_of": self.restored_instead_of,
            "thin": None if self.thin is None else str(self.thin),
            "former_thin": list(map(str, self.former_thin)) or None,
            "until": self.until,
            "notes": list(self.notes) or None,
            "lacking": list(self.lacking) or None,
        }
        known = {key: value for key, value in said.items() if value is not None}
        return json.dumps(known, indent=1, sort_keys=True).encode() + b"\n"

    def remembered(self, until: int) -> Self:
        """Return what is kept of it when another becomes live at that unix time."""
        return replace(self, restored_instead_of=None, until=until)


NO_RECEIPT = Receipt()


def _digest(value: object) -> str | None:
    try:
        return parse_digest(str(value))
    except InvalidReference:
        return None


def _texts(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, list | tuple) else []


def _references(named: object) -> Iterator[Reference]:
    for name in named if isinstance(named, list) else ():
        try:
            if isinstance(name, str):
                yield Reference.parse(name)
        except InvalidReference:
            continue
