"""What the pages say: states, times and sizes in words. Pure; no page, no ledger.

Colour is never the only sign of a state: each has a word, an icon and a tone.
"""

from dataclasses import dataclass
from typing import NamedTuple

from workers.ledger import Outcome, State

_MINUTE = 60
_HOUR = 3600
_DAY = 86_400


class StateWords(NamedTuple):
    """How a state is shown.

    Attributes:
        word: one or two words, for the badge.
        icon: name of a picture in ``icons.html``.
        tone: class of the style sheet; good, busy, idle, warn, bad or gone.
        answer: to "is my image there yet?", one sentence.
    """

    word: str
    icon: str
    tone: str
    answer: str


STATES = {
    State.QUEUED: StateWords(
        "Waiting", "clock", "idle", "Not yet. It waits for a free worker."
    ),
    State.RESOLVING: StateWords(
        "Looking up",
        "search",
        "busy",
        "Not yet. The registry is being asked what the tag points at.",
    ),
    State.FETCHING: StateWords(
        "Downloading", "down", "busy", "Not yet. Its layers are being downloaded."
    ),
    State.CONVERTING: StateWords(
        "Converting", "layers", "busy", "Not yet. Its layers are being put together."
    ),
    State.PUBLISHING: StateWords(
        "Publishing", "up", "busy", "Nearly. It is being published right now."
    ),
    State.LIVE: StateWords(
        "Live", "check", "good", "Yes. What the registry has is live."
    ),
    State.REFUSED: StateWords("Refused", "stop", "warn", "No. It was refused."),
    State.FAILED: StateWords(
        "Failed", "cross", "bad", "No. It could not be published."
    ),
    State.REMOVED: StateWords("Removed", "bin", "gone", "No. It was removed."),
}

# A failure that may pass; the ledger calls it failed, with a time for the next try.
RETRYING = StateWords("Retrying", "clock", "warn", "Not yet. The last try failed.")
# What the registry has is not live, and that is as somebody wants it.
RESTORED = StateWords(
    "Restored", "check", "good", "An earlier one is, restored by hand."
)

# Those that are nearly done first.
RUNNING = tuple(state for state in reversed(State) if state.is_stage)


class OutcomeWords(NamedTuple):
    """How the end of a run is shown; see StateWords."""

    word: str
    icon: str
    tone: str


OUTCOMES: dict[Outcome | None, OutcomeWords] = {
    Outcome.PUBLISHED: OutcomeWords("Published", "check", "good"),
    Outcome.UNCHANGED: OutcomeWords("Unchanged", "equal", "idle"),
    Outcome.SUPERSEDED: OutcomeWords("Overtaken by a newer push", "skip", "idle"),
    Outcome.REFUSED: OutcomeWords("Refused", "stop", "warn"),
    Outcome.FAILED: OutcomeWords("Failed", "cross", "bad"),
    Outcome.REMOVED: OutcomeWords("Removed", "bin", "gone"),
    None: OutcomeWords("Running", "clock", "busy"),
}


@dataclass(frozen=True, slots=True)
class _Unit:
    seconds: int
    name: str


_UNITS = (_Unit(_DAY, "day"), _Unit(_HOUR, "h"), _Unit(_MINUTE, "min"), _Unit(1, "s"))


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit: ``45 s``, ``3 min``, ``2 days``."""
    whole = max(0, int(seconds))
    for unit in _UNITS:
        if whole >= unit.seconds:
            number = whole // unit.seconds
            plural = "s" if unit.name == "day" and number > 1 else ""
            return f"{number} {unit.name}{plural}"
    return "0 s"


def relative(moment: float, now: float) -> str:
    """Return a moment as seen from ``now``: ``3 min ago``, ``in 40 s``, ``just now``.

    ``live.js`` says the same words while a page stays open.
    """
    if moment > now + 1:
        return f"in {duration(moment - now + 0.5)}"
    if now - moment < 5:  # noqa: PLR2004
        return "just now"
    return f"{duration(now - moment)} ago"


def exact_seconds(seconds: float) -> str:
    """Return a length of time: ``< 0.1 s``, ``0.3 s``, ``12 s``, ``4 min 7 s``."""
    if seconds < 0.1:  # noqa: PLR2004
        return "< 0.1 s"
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(number: float) -> str:
    """Return a number of bytes: ``0 B``, ``12 kB``, ``1.4 GB``."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004
            digits = 1 if unit != "B" and amount < 10 else 0  # noqa: PLR2004
            return f"{amount:.{digits}f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def short_digest(digest: str) -> str:
    """Return enough of a digest to recognise it by."""
    return digest.partition(":")[2][:12] or digest[:12]
