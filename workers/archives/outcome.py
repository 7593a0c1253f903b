"""How an export went."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from workers.errors import PermanentError


class ExportFailed(PermanentError):
    """The image cannot be taken out in this form, or to this place."""


@dataclass(slots=True)
class Export:
    """What was written.

    Attributes:
        entries: files, directories, links and devices written.
        size: bytes of regular files.
        losses: what could not be written, counted by kind.
        first_losses: by kind the first of them: what of which path, and why.
    """

    entries: int = 0
    size: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    first_losses: dict[str, str] = field(default_factory=dict)


Tell = Callable[[Export], object]
"""Is told often how far an export has come."""
