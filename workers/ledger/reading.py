"""Redis's replies, turned into the records of ``records.py``. Pure: no connection.

What ``writing.py`` and the scripts wrote is trusted to be well formed.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, get_args, get_type_hints

from workers.ledger.records import (
    DeliveryEvent,
    DeliveryRecord,
    Event,
    Hint,
    ImageRecord,
    LedgerCounters,
    LiveRecord,
    Outcome,
    Progress,
    RunRecord,
    State,
    Verdict,
)

# Fields of the hash that have kept an older name.
_STORED_AS = {"restored_instead_of": "held"}
# Fields of the record that no field of the hash is.
_DERIVED = frozenset({"reference", "last_run", "is_running"})


def as_text(value: object) -> str:
    """Return a reply as text, whether the connection decodes or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def as_fields(reply: Mapping[Any, Any]) -> dict[str, str]:
    """Return the reply to HGETALL as text."""
    return {as_text(name): as_text(value) for name, value in reply.items()}


def hint_from_json(text: str) -> Hint:
    """Decode what ``writing.hint_to_json`` made."""
    return Hint(**json.loads(text))


def run_from_json(text: str) -> RunRecord:
    """Decode a finished run as ``end_run`` in ``prelude.lua`` made it."""
    run = json.loads(text)
    return RunRecord(
        id=run["id"],
        number=int(run["number"]),
        outcome=Outcome(run["outcome"]),
        started=float(run["started"]),
        ended=float(run["ended"]),
        digest=run.get("digest"),
        reason=run.get("reason"),
        attempt=int(run["attempt"]),
        next_try=run.get("next_try"),
        source=run.get("source", ""),
        worker=run.get("worker", ""),
        seconds_by_stage=run["seconds"],
    )


def live_from_json(text: str) -> LiveRecord:
    """Decode what ``note_live`` in ``prelude.lua`` made."""
    live = json.loads(text)
    revision = live.get("revision")
    return LiveRecord(
        digest=live.get("digest"),
        since=float(live["since"]),
        revision=int(revision) if revision else None,
        repository=live.get("repository"),
    )


def _running(fields: Mapping[str, str]) -> RunRecord:
    prefix = "seconds:"
    return RunRecord(
        id=fields["lease"],
        number=int(fields["lease_number"]),
        outcome=None,
        started=float(fields["run_started"]),
        digest=fields.get("run_digest"),
        attempt=int(fields["attempts"]),
        source=fields.get("run_source", ""),
        worker=fields.get("lease_worker", ""),
        seconds_by_stage={
            name.removeprefix(prefix): float(seconds)
            for name, seconds in fields.items()
            if name.startswith(prefix)
        },
    )


@cache
def decoders(record: type) -> Mapping[str, Callable[[str], Any]]:
    """Return by field of a record what makes its value of a text.

    Raises:
        TypeError: a field has a type that nothing here reads.
    """
    kinds: Mapping[Any, Callable[[str], Any]] = {
        str: str,
        int: int,
        float: float,
        State: State,
        Hint: hint_from_json,
        Progress: lambda text: Progress(*json.loads(text)),
        Mapping[str, str]: json.loads,
        tuple[str, ...]: lambda text: tuple(json.loads(text)),
    }
    found = {}
    for name, hint in get_type_hints(record).items():
        if name in _DERIVED:
            continue
        one_of = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kind = next((one for one in one_of if one in kinds), None)
        if kind is None:
            raise TypeError(f"{name}: say in reading.py how {hint} is read")
        found[name] = kinds[kind]
    return found


def image_from_fields(reference: str, fields: Mapping[str, str]) -> ImageRecord:
    """Build the record from its hash; ``prelude.lua`` lists the fields.

    A field of the record has the name of a field of the hash, and its type says how it
    is read; what is not there has the record's default.
    """
    is_running = "lease" in fields
    last_run = None
    if is_running:
        last_run = _running(fields)
    elif ended := fields.get("last_run"):
        last_run = run_from_json(ended)
    values = {
        name: decode(fields[stored])
        for name, decode in decoders(ImageRecord).items()
        if (stored := _STORED_AS.get(name, name)) in fields
    }
    values |= {"reference": reference, "last_run": last_run, "is_running": is_running}
    return ImageRecord(**values)


def delivery_from_text(delivery_id: str, text: str) -> DeliveryRecord:
    """Decode a delivery: a line of verdicts, and ``writing.delivery_to_json``."""
    verdicts, _, body = text.partition("\n")
    delivery = json.loads(body)
    events = delivery["events"]
    return DeliveryRecord(
        id=delivery_id,
        source=delivery["source"],
        time=delivery["time"],
        sender=delivery["sender"],
        events=tuple(
            DeliveryEvent(**event, verdict=Verdict(verdict))
            for event, verdict in zip(events, verdicts.split(","), strict=False)
        ),
    )


def event_from_fields(event_id: str, fields: Mapping[str, str]) -> Event:
    """Build an event from its entry in the stream."""
    return Event(
        id=event_id,
        time=float(fields["time"]),
        reference=fields["reference"],
        state=State(fields["state"]),
        reason=fields["reason"] or None,
        digest=fields["digest"] or None,
        revision=int(fields["revision"]) if fields["revision"] else None,
    )


def counters_from_fields(fields: Mapping[str, str]) -> LedgerCounters:
    """Build the counters; ``count`` in ``prelude.lua`` is called with their names."""
    runs = dict.fromkeys(Outcome, 0)
    seconds: dict[State, float] = {}
    deliveries: dict[str, int] = {}
    events: dict[tuple[str, Verdict], int] = {}
    for field, number in fields.items():
        kind, _, name = field.partition(":")
        if kind == "runs":
            runs[Outcome(name)] = int(float(number))
        elif kind == "seconds":
            seconds[State(name)] = float(number)
        elif kind == "deliveries":
            deliveries[name] = int(float(number))
        elif kind == "events":
            verdict, _, source = name.partition(":")
            events[source, Verdict(verdict)] = int(float(number))
    return LedgerCounters(runs, seconds, deliveries, events)
