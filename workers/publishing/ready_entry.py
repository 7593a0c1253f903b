"""What processes that commit together write to each other, as text under a seal.

An entry is a batch that is ready, with what must hold when it becomes visible. An
answer says what became of it. Both are bound to the id of the entry, which begins with
the time, so that neither can be put anywhere else, or kept for long.
"""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from workers.cvmfs import Batch, ContentHash, FormatError, Malformed, Revision
from workers.publishing.seal import BrokenSeal, Seal

# More than a batch is ever left in the queue, and than clocks of machines differ.
_VALID_SECONDS = 3600
_NANOSECONDS = 10**9

Outcome = Revision | Exception
"""What became of a batch."""


class FenceDown(Exception):
    """What a batch was made for does not hold, as far as another process can tell."""


class EntryRefused(Exception):
    """An entry of the queue that nobody may commit."""


@dataclass(frozen=True, slots=True)
class ReadyEntry:
    """A batch that is ready.

    Attributes:
        fence: the token of the run.
        state: of the run's reference when the batch was laid down.
        batch: see above.
    """

    fence: str
    state: str
    batch: Batch

    def sealed(self, seal: Seal, entry_id: str) -> str:
        """Return it as text."""
        text = json.dumps([self.fence, self.state, self.batch.encode()])
        return seal.close(entry_id, text)

    @classmethod
    def opened(cls, seal: Seal, entry_id: str, sealed: str, *, now: float) -> Self:
        """Read what ``sealed`` wrote.

        Raises:
            EntryRefused: it is not to be believed, or believed no more.
        """
        try:
            fence, state, batch = json.loads(seal.open(entry_id, sealed))
            age_seconds = now - int(entry_id.partition("-")[0]) / _NANOSECONDS
            entry = cls(str(fence), str(state), Batch.decode(batch))
        except (BrokenSeal, Malformed) as error:
            raise EntryRefused(str(error)) from error
        except (ValueError, TypeError) as error:
            raise EntryRefused(f"it is of another version: {error}") from error
        if abs(age_seconds) > _VALID_SECONDS:
            raise EntryRefused(f"it is {age_seconds:.0f} s old: it was put back")
        return entry


def new_entry_id() -> str:
    """Return an id that begins with the time, so that ids are ordered by age."""
    return f"{time.time_ns():020d}-{secrets.token_hex(8)}"


# An answer is JSON: a revision; or the name of an error and what it says; or neither,
# if the fence does not hold.


def sealed_answer(seal: Seal, entry_id: str, outcome: Outcome) -> str:
    """Return as text what became of an entry."""
    said: dict[str, object] = {}
    if isinstance(outcome, Revision):
        root = str(outcome.root_catalog)
        said["revision"] = [outcome.number, root, outcome.timestamp]
    elif isinstance(outcome, FormatError):
        said |= {"error": type(outcome).__name__, "message": str(outcome)}
    return seal.close(entry_id, json.dumps(said))


def opened_answer(seal: Seal, entry_id: str, sealed: str) -> Outcome | None:
    """Read what ``sealed_answer`` wrote; None where it is not to be believed."""
    try:
        said = json.loads(seal.open(entry_id, sealed))
    except BrokenSeal:
        return None
    if "revision" in said:
        number, root, timestamp = said["revision"]
        return Revision(number, ContentHash.parse(root), timestamp, is_new=True)
    if "error" in said:
        kinds = {kind.__name__: kind for kind in _kinds(FormatError)}
        return kinds.get(said["error"], FormatError)(said["message"])
    return FenceDown()


def _kinds(error: type[FormatError]) -> Iterator[type[FormatError]]:
    """Yield an error and all that are kinds of it."""
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)
