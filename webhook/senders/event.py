"""What a notification says once the sender's dialect is taken off.

Past this module nobody looks at a sender's own field names, and every name is either
valid or marked as a problem.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from workers.reference import (
    DOCKER_HUB,
    InvalidReference,
    parse_digest,
    parse_repository,
    parse_tag,
)

_ACTIONS = frozenset({"push", "delete", "pull", "mount", "rename", "hint"})
_LONGEST_TEXT = 255
_EVENT_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
# Up to the year 2100: what lies beyond is a wrong unit or a wrong clock.
_LATEST = 4_102_444_800


@dataclass(frozen=True, slots=True)
class PushEvent:
    """One event of a notification: a hint where to look, never a fact.

    Attributes:
        registry: canonical host, from the source's configuration.
        repository: path without host.
        tag: None where the event has none.
        digest: what the sender says; None where it says nothing.
        action: push, delete, pull, mount, rename, hint or other.
        event_id: the sender's own, the same in each retry.
        is_id_unique: whether the sender gives an id to one event only, so that seeing
            it again means a retry.
        actor: who pushed, as the sender calls them.
        time: seconds since the epoch, by the sender's clock.
        media_type: of the pushed object; None where the sender does not say.
        problem: why the event cannot be used. Its names are then printable and short,
            and nothing else is promised of them.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    action: str = "push"
    event_id: str | None = None
    actor: str | None = None
    time: float | None = None
    media_type: str | None = None
    problem: str | None = None
    is_id_unique: bool = False

    @property
    def reference(self) -> str | None:
        """The ledger's key, registry/repository:tag; None without a tag."""
        if self.tag is None or self.problem is not None:
            return None
        return f"{self.registry}/{self.repository}:{self.tag}"

    @classmethod
    def read(  # noqa: PLR0913 - the fields of the normal form, each by its name
        cls,
        *,
        registry: str,
        repository: str | None,
        tag: str | None = None,
        digest: str | None = None,
        action: str = "push",
        event_id: str | None = None,
        actor: str | None = None,
        time: float | None = None,
        media_type: str | None = None,
        problem: str | None = None,
        is_id_unique: bool = False,
    ) -> Self:
        """Return an event from what a sender wrote, its names checked.

        Nothing raises: a wrong name becomes the event's problem, so that it cannot
        take its neighbours along.

        Args:
            registry: canonical already; it is ours.
            repository: as the registry itself calls it; Docker Hub's official images
                may lack their ``library/``.
            tag: None where there is none.
            digest: None where there is none.
            action: the sender's word, other words become ``other``.
            event_id: cut to what a log line can carry.
            actor: made printable and cut.
            time: as for the attribute; see ``seconds`` and ``timestamp``.
            media_type: made printable and cut.
            problem: what is known to be wrong already.
            is_id_unique: as for the attribute.
        """
        name = repository or ""
        if registry == DOCKER_HUB and name and "/" not in name:
            name = f"library/{name}"
        problem = (
            problem
            or _complaint(parse_repository, name)
            or _complaint(parse_tag, tag)
            or _complaint(parse_digest, digest)
        )
        return cls(
            registry=registry,
            repository=_printable(name) or "",
            tag=_printable(tag),
            digest=_printable(digest),
            action=action if action in _ACTIONS else "other",
            event_id=_identifier(event_id),
            actor=_printable(actor),
            time=time,
            media_type=_printable(media_type),
            problem=problem,
            is_id_unique=is_id_unique,
        )


def seconds(value: object) -> float | None:
    """Return a sender's number of seconds; None for what is no time of ours."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # No NaN, no infinity and no integer too large for a float passes this.
    return float(value) if 0 < value < _LATEST else None


def timestamp(value: object) -> float | None:
    """Return the seconds of an RFC 3339 time, to the microsecond; None for no time.

    Senders in Go write nine digits; ``fromisoformat`` takes them and cuts three.
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return seconds(moment.timestamp())
    except (ValueError, OverflowError):
        return None


def _complaint(parse: Callable[[str], str], name: str | None) -> str | None:
    if name is None:
        return None
    try:
        parse(name)
    except InvalidReference as exc:
        return str(exc)
    return None


def _printable(text: str | None) -> str | None:
    """Return a text that a log line, a page and UTF-8 can carry."""
    if text is None:
        return None
    cut = text[:_LONGEST_TEXT]
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut
    )


def _identifier(text: str | None) -> str | None:
    """Return an id as it is, or its hash where it is too long or too strange."""
    if not text:
        return None
    if _EVENT_ID.fullmatch(text):
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
