"""What a check tells: findings, and how far it has come."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from workers.cvmfs.values.paths import printable

_Result = TypeVar("_Result")
_MAX_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a repository.

    Attributes:
        where: a path in the repository, a mutable file as ``.cvmfswhitelist``, or an
            object as ``data/28/d94b…X``. One line.
        what: what is wrong there, with the offending value. One line.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"

    @classmethod
    def at(cls, path: bytes, what: object) -> "Finding":
        """Make a finding about a path in the repository; ``b""`` is its root."""
        return cls(one_line(printable(path)), one_line(str(what)))

    @classmethod
    def of(cls, file: str, what: object) -> "Finding":
        """Make a finding about a file of the storage."""
        return cls(one_line(file), one_line(str(what)))


class CheckProgress(NamedTuple):
    """How far a check has come; all numbers only ever grow.

    Attributes:
        catalogs: examined so far.
        entries: rows of those catalogs.
        objects: proven to be there, or right.
        bytes: stored bytes read to prove contents.
    """

    catalogs: int = 0
    entries: int = 0
    objects: int = 0
    bytes: int = 0


Tell = Callable[[CheckProgress], None]

Findings = Generator[Finding, None, _Result]
"""A part of the check: yields what it finds and returns what later parts need."""


def one_line(text: str) -> str:
    """Return text with everything escaped that a terminal or a log would act on.

    What is longer than any path is cut.
    """
    text = text[:_MAX_CHARACTERS]
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in text
    )
