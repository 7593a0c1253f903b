"""Redis's replies, turned into the records of ``records.py``. Pure: no connection.

Others can write into Redis, too. What cannot be what ``writing.py`` and the scripts
write is refused with one of ``odd.ODD``; of an image, whose other fields may be fine,
it is left out and said in its reason.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import UnionType
from typing import Any, NamedTuple, get_args, get_type_hints

from workers.ledger import values
from workers.ledger.deliveries import DeliveryEvent, DeliveryRecord, Hint, Verdict
from workers.ledger.odd import ODD, readable
from workers.ledger.records import (
    Event,
    ImageRecord,
    LedgerCounters,
    LiveRecord,
    Outcome,
    Progress,
    RunRecord,
    State,
)

# Fields of the hash that have kept an older name.
_STORED_AS = {"restored_instead_of": "held"}
# Fields of the record that no field of the hash is.
_DERIVED = frozenset({"reference", "last_run", "is_running"})
# Of a record without them nothing is known.
_NEEDED = ("state", "since")
_SECONDS = "seconds:"


def as_text(value: object) -> str:
    """Return a reply as text, whether the connection decodes or not.

    Each byte that is not UTF-8 becomes a surrogate, which no text of ours has.
    """
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return str(value)


def as_fields(reply: Mapping[Any, Any]) -> dict[str, str]:
    """Return the reply to HGETALL as text."""
    return {as_text(name): as_text(value) for name, value in reply.items()}


def _places(text: str) -> dict[str, str]:
    return {
        values.text(name): values.text(place)
        for name, place in values.json_object(text).items()
    }


def _lines(text: str) -> tuple[str, ...]:
    said = json.loads(text)
    if not isinstance(said, list):
        raise TypeError(f"{text:.50} is no list")
    return tuple(map(values.line, said))


def _progress(text: str) -> Progress:
    return Progress(*map(values.count, json.loads(text)))


def _stage(field: str, spent: object) -> tuple[str, float]:
    return State(field.removeprefix(_SECONDS)).value, values.number(spent)


_NEEDED_OF_RUNS: Mapping[str, Callable[[str], Any]] = {
    "lease": values.line,
    "lease_number": values.count,
    "run_started": values.time,
    "attempts": values.count,
}


def hint_from_json(text: str) -> Hint:
    """Decode what ``writing.hint_to_json`` made."""
    said = values.json_object(text)
    sent = said.get("sent")
    return Hint(
        digest=values.some_text(said.get("digest")),
        sent=None if sent is None else values.number(sent),
        source=values.text(said["source"]),
        event_id=values.some_text(said.get("event_id")),
        actor=values.some_text(said.get("actor")),
        is_news=said.get("is_news") is not False,
    )


def run_from_json(text: str) -> RunRecord:
    """Decode a finished run as ``end_run`` in ``prelude.lua`` made it."""
    run = values.json_object(text)
    next_try = run.get("next_try")
    return RunRecord(
        id=values.text(run["id"]),
        number=values.count(run["number"]),
        outcome=Outcome(run["outcome"]),
        started=values.time(run["started"]),
        ended=values.time(run["ended"]),
        digest=values.some_text(run.get("digest")),
        reason=values.some_text(run.get("reason")),
        attempt=values.count(run["attempt"]),
        next_try=None if next_try is None else values.time(next_try),
        source=values.text(run.get("source", "")),
        worker=values.text(run.get("worker", "")),
        seconds_by_stage=dict(_stage(*spent) for spent in run["seconds"].items()),
        is_reason_open=run.get("is_reason_open") is True,
    )


def live_from_json(text: str) -> LiveRecord:
    """Decode what ``note_live`` in ``prelude.lua`` made."""
    live = values.json_object(text)
    revision = live.get("revision")
    return LiveRecord(
        digest=values.some_text(live.get("digest")),
        since=values.time(live["since"]),
        revision=values.count(revision) if revision else None,
        repository=values.some_text(live.get("repository")),
    )


@cache
def decoders(record: type) -> Mapping[str, Callable[[str], Any]]:
    """Return by field of a record what makes its value of a text.

    Raises:
        TypeError: a field has a type that nothing here reads.
    """
    kinds: Mapping[Any, Callable[[str], Any]] = {
        str: values.line,
        int: values.count,
        float: values.time,
        bool: values.flag,
        State: State,
        Hint: hint_from_json,
        Progress: _progress,
        Mapping[str, str]: _places,
        tuple[str, ...]: _lines,
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


class ImageFields(NamedTuple):
    """What a hash says of an image.

    Attributes:
        found: the values of the fields of the record, as far as they can be read.
        odd: names of the fields of the hash that cannot be.
    """

    found: Mapping[str, Any]
    odd: tuple[str, ...]


def read_image(fields: Mapping[str, str]) -> ImageFields:
    """Read the hash of an image; ``prelude.lua`` lists its fields.

    A field of the record has the name of a field of the hash, and its type says how it
    is read.
    """
    found: dict[str, Any] = {}
    odd: list[str] = []

    def take(stored: str, decode: Callable[[str], Any]) -> Any:
        try:
            return decode(fields[stored])
        except ODD:
            odd.append(stored)
            return None

    for name, decode in decoders(ImageRecord).items():
        stored = _STORED_AS.get(name, name)
        if stored in fields or stored in _NEEDED:
            found[name] = take(stored, decode)
    found["is_running"] = "lease" in fields
    if found["is_running"]:
        found["last_run"] = _running(fields, take)
    elif fields.get("last_run"):
        found["last_run"] = take("last_run", run_from_json)
    return ImageFields(
        {name: value for name, value in found.items() if value is not None},
        tuple(dict.fromkeys(odd)),
    )


def _running(
    fields: Mapping[str, str], take: Callable[[str, Callable[[str], Any]], Any]
) -> RunRecord | None:
    said = {name: take(name, decode) for name, decode in _NEEDED_OF_RUNS.items()}
    said |= {
        name: take(name, values.line)
        for name in ("run_digest", "run_source", "lease_worker")
        if name in fields
    }
    seconds = {
        name: take(name, partial(_stage, name))
        for name in fields
        if name.startswith(_SECONDS)
    }
    if any(value is None for value in (*said.values(), *seconds.values())):
        return None
    return RunRecord(
        id=said["lease"],
        number=said["lease_number"],
        outcome=None,
        started=said["run_started"],
        digest=said.get("run_digest"),
        attempt=said["attempts"],
        source=said.get("run_source", ""),
        worker=said.get("lease_worker", ""),
        seconds_by_stage=dict(seconds.values()),
    )


def image_from_fields(reference: str, fields: Mapping[str, str]) -> ImageRecord:
    """Build the record from its hash; what is not there has the record's default.

    Where something cannot be read, the reason says so.
    """
    found, odd = read_image(fields)
    if not odd:
        return ImageRecord(reference=reference, **found)
    return unreadable_image(reference, odd, found)


def unreadable_image(
    reference: str, odd: Sequence[str], found: Mapping[str, Any] | None = None
) -> ImageRecord:
    """Return the record of an image of which not everything can be read.

    Args:
        reference: canonical.
        odd: names of the fields that cannot be.
        found: of the others.
    """
    found = found or {}
    is_live = found.get("live_digest") is not None
    known = {
        "state": State.LIVE if is_live else State.FAILED,
        "since": found.get("moved_since") or 0.0,
        **found,
        "reason": f"record unreadable ({', '.join(odd)}): "
        "`cvmfs-webhook ledger rebuild` mends it",
    }
    return ImageRecord(reference=reference, **known)


def delivery_from_text(delivery_id: str, text: str) -> DeliveryRecord:
    """Decode a delivery: a line of verdicts, and ``writing.delivery_to_json``."""
    verdicts, _, body = text.partition("\n")
    delivery = values.json_object(body)
    return DeliveryRecord(
        id=values.line(delivery_id),
        source=values.text(delivery["source"]),
        time=values.time(delivery["time"]),
        sender=values.some_text(delivery["sender"]),
        events=tuple(
            _delivery_event(event, Verdict(verdict))
            for event, verdict in zip(
                delivery["events"], verdicts.split(","), strict=False
            )
        ),
    )


def _delivery_event(said: Mapping[str, object], verdict: Verdict) -> DeliveryEvent:
    return DeliveryEvent(
        reference=values.some_text(said["reference"]),
        action=values.text(said["action"]),
        digest=values.some_text(said["digest"]),
        event_id=values.some_text(said["event_id"]),
        actor=values.some_text(said["actor"]),
        verdict=verdict,
        reason=values.text(said["reason"]),
    )


def event_from_fields(event_id: str, fields: Mapping[str, str]) -> Event:
    """Build an event from its entry in the stream."""
    return Event(
        id=values.line(event_id),
        time=values.time(fields["time"]),
        reference=values.text(fields["reference"]),
        state=State(fields["state"]),
        reason=values.text(fields["reason"]) or None,
        digest=values.text(fields["digest"]) or None,
        revision=values.count(fields["revision"]) if fields["revision"] else None,
    )


def counters_from_fields(fields: Mapping[str, str]) -> LedgerCounters:
    """Build the counters; ``count`` in ``prelude.lua`` is called with their names."""
    runs = dict.fromkeys(Outcome, 0)
    seconds: dict[State, float] = {}
    deliveries: dict[str, int] = {}
    events: dict[tuple[str, Verdict], int] = {}

    def add(field: str, number: str) -> None:
        kind, _, name = field.partition(":")
        if kind == "runs":
            runs[Outcome(name)] = int(values.number(number))
        elif kind == "seconds":
            seconds[State(name)] = values.number(number)
        elif kind == "deliveries":
            deliveries[values.line(name)] = int(values.number(number))
        elif kind == "events":
            verdict, _, source = name.partition(":")
            events[values.line(source), Verdict(verdict)] = int(values.number(number))

    for _ in readable("counter", lambda item: add(*item), fields.items()):
        pass
    return LedgerCounters(runs, seconds, deliveries, events)
