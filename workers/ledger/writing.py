"""Records turned into what the scripts take. Pure: no connection.

What a sender said goes inside JSON that we encode, so it cannot break out of its field;
one line of text is cleaned of what UTF-8 or a terminal could not bear.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING

from workers.ledger.deliveries import Delivery, Hint, Wanted
from workers.ledger.records import Progress, RunResult, State

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Foreign text of any length must not fill the memory of Redis.
LONGEST_TEXT = 256
LONGEST_REASON = 2000


def one_line(text: str | None, longest: int = LONGEST_REASON) -> str:
    """Return ``text`` as one printable line that UTF-8 can carry; "" for None.

    Names from layers may hold surrogates, names from senders anything.
    """
    clean = "".join(c if c.isprintable() else " " for c in (text or "")[: 2 * longest])
    return " ".join(clean.split())[:longest]


def hint_to_json(hint: Hint) -> str:
    """Encode a hint, its foreign texts cut."""
    return json.dumps(
        {
            "digest": hint.digest,
            "sent": hint.sent,
            "source": hint.source,
            "event_id": hint.event_id and hint.event_id[:LONGEST_TEXT],
            "actor": hint.actor and hint.actor[:LONGEST_TEXT],
            "is_news": hint.is_news,
        }
    )


def progress_to_json(progress: Progress) -> str:
    """Encode a progress."""
    return json.dumps(
        [
            progress.layers_done,
            progress.layers_total,
            progress.bytes_done,
            progress.bytes_total,
        ]
    )


def stage_to_json(
    stage: State | None,
    digest: str | None,
    progress: Progress | None,
    *,
    is_public: bool | None = None,
) -> str:
    """Encode what a run says of itself, for ``stage.lua``."""
    how_far = None if progress is None else progress_to_json(progress)
    said = {"stage": stage, "digest": digest, "progress": how_far}
    return _to_json({**said, "is_public": is_public})


def result_to_json(result: RunResult) -> str:
    """Encode how a run ended, for ``finish.lua``."""
    return record_to_json(replace(result, reason=one_line(result.reason) or None))


def record_to_json(record: "DataclassInstance") -> str:
    """Encode a record for a script, by the names of its fields.

    A mapping or a tuple of texts becomes text, as which the ledger keeps it; a record
    in it becomes a part.
    """
    return _to_json(_said(record))


def _said(record: "DataclassInstance") -> dict[str, object]:
    said: dict[str, object] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if is_dataclass(value) and not isinstance(value, type):
            said |= _said(value)
        elif isinstance(value, Mapping):
            said[each.name] = json.dumps(dict(value))
        elif isinstance(value, tuple):
            # An empty text takes the field away.
            said[each.name] = json.dumps(list(map(one_line, value))) if value else ""
        else:
            said[each.name] = value
    return said


def _to_json(values: Mapping[str, object]) -> str:
    """Encode what is not None: Lua takes JSON's null for something."""
    there = {name: value for name, value in values.items() if value is not None}
    return json.dumps(there)


def wanted_to_args(wanted: Wanted) -> tuple[str | float, ...]:
    """Return the eight arguments that ``accept.lua`` takes for each event."""
    hint = wanted.hint
    unique_id = (wanted.unique_id or "").encode("utf-8", "replace").decode()
    head = (wanted.reference or "", wanted.verdict, one_line(wanted.reason), unique_id)
    order = wanted.order or ""
    if hint is None:
        return (*head, "", "", "", order)
    sent = "" if hint.sent is None else hint.sent
    return (*head, hint_to_json(hint), hint.digest or "", sent, order)


def delivery_to_json(delivery: Delivery, wanted: Sequence[Wanted]) -> str:
    """Encode what is kept of a delivery, without the verdicts, which Redis adds."""
    return json.dumps(
        {
            "source": delivery.source,
            "time": delivery.time,
            "sender": delivery.sender,
            "events": [_event(one) for one in wanted],
        }
    )


def _event(wanted: Wanted) -> dict[str, str | None]:
    hint = wanted.hint
    return {
        "reference": wanted.reference,
        "action": wanted.action,
        "digest": hint.digest if hint else None,
        "event_id": hint.event_id[:LONGEST_TEXT] if hint and hint.event_id else None,
        "actor": hint.actor[:LONGEST_TEXT] if hint and hint.actor else None,
        "reason": one_line(wanted.reason),
    }
