"""What was written into the ledger is read back as it was."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ledger.deliveries import Delivery, Hint, Verdict, Wanted
from workers.ledger.reading import (
    as_fields,
    counters_from_fields,
    decoders,
    delivery_from_text,
    event_from_fields,
    hint_from_json,
    image_from_fields,
    live_from_json,
)
from workers.ledger.records import Event, LiveRecord, Outcome, Progress, State
from workers.ledger.writing import (
    LONGEST_TEXT,
    delivery_to_json,
    hint_to_json,
    progress_to_json,
)

NAME = "registry.example.org/atlas/analysis:v1"
WORDS = st.text(st.characters(codec="utf-8"))
TIMES = st.floats(0, 2**40)
SHORT = st.text(min_size=1, max_size=LONGEST_TEXT)
HINTS = st.builds(
    Hint,
    digest=st.none() | WORDS,
    sent=st.none() | TIMES,
    source=WORDS,
    event_id=st.none() | SHORT,
    actor=st.none() | SHORT,
    is_news=st.booleans(),
)
NUMBERS = st.integers(0, 2**62)
FEWEST = {"state": "queued", "since": "5.5"}


@given(HINTS)
def test_a_hint_is_read_back(hint: Hint) -> None:
    assert hint_from_json(hint_to_json(hint)) == hint


def test_foreign_texts_of_any_length_are_cut() -> None:
    hint = Hint(None, "hub", event_id="e" * 9999, actor="a" * 9999)
    read = hint_from_json(hint_to_json(hint))
    assert read.event_id == "e" * LONGEST_TEXT
    assert read.actor == "a" * LONGEST_TEXT


@given(
    st.builds(Progress, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.dictionaries(WORDS, WORDS),
    HINTS,
)
def test_the_fields_of_an_image_are_read_back(
    progress: Progress, places: dict[str, str], hint: Hint
) -> None:
    record = image_from_fields(
        NAME,
        {
            **FEWEST,
            "progress": progress_to_json(progress),
            "places": json.dumps(places),
            "hint": hint_to_json(hint),
        },
    )
    assert record.reference == NAME
    assert (record.progress, record.places, record.hint) == (progress, places, hint)


def test_an_image_of_which_little_is_known_is_read() -> None:
    record = image_from_fields(NAME, FEWEST)
    assert (record.state, record.since) == (State.QUEUED, 5.5)
    assert (record.digest, record.revision, record.last_run) == (None, None, None)
    assert record.places == {}
    assert not record.is_running
    assert not record.is_owed


def test_a_run_that_goes_on_is_read_from_the_lease() -> None:
    fields = {
        **FEWEST,
        "lease": "token",
        "lease_number": "7",
        "run_started": "10.5",
        "attempts": "2",
        "seconds:fetching": "1.5",
        "last_run": json.dumps({"id": "the one before"}),
    }
    record = image_from_fields(NAME, fields)
    assert record.is_running
    run = record.last_run
    assert run is not None
    assert (run.id, run.number, run.started, run.attempt) == ("token", 7, 10.5, 2)
    assert (run.outcome, run.seconds_by_stage) == (None, {"fetching": 1.5})


@given(st.lists(st.tuples(HINTS, st.sampled_from(Verdict)), min_size=1))
def test_a_delivery_is_read_back_with_a_verdict_for_each_event(
    events: list[tuple[Hint, Verdict]],
) -> None:
    wanted = [Wanted(NAME, verdict, "why", hint) for hint, verdict in events]
    verdicts = ",".join(one.verdict for one in wanted)
    body = delivery_to_json(Delivery("d1", "hub", 5.5, "192.0.2.1"), wanted)
    read = delivery_from_text("d1", f"{verdicts}\n{body}")
    assert (read.id, read.source, read.time) == ("d1", "hub", 5.5)
    assert read.sender == "192.0.2.1"
    assert [(one.digest, one.event_id, one.actor) for one in read.events] == [
        (hint.digest, hint.event_id, hint.actor) for hint, _ in events
    ]
    assert [one.verdict for one in read.events] == [verdict for _, verdict in events]


def test_what_was_live_may_be_nothing() -> None:
    assert live_from_json('{"since": 5}') == LiveRecord(None, 5.0)
    assert live_from_json(
        '{"digest": "d", "since": 5.5, "revision": 3, "repository": "r"}'
    ) == LiveRecord("d", 5.5, 3, "r")


def test_empty_fields_of_an_event_are_nothing() -> None:
    fields = {"time": "5.5", "reference": NAME, "state": "live"}
    empty = {"reason": "", "digest": "", "revision": ""}
    event = Event("1-0", 5.5, NAME, State.LIVE, None, None, None)
    assert event_from_fields("1-0", {**fields, **empty}) == event
    said = event_from_fields("1-0", {**fields, **empty, "revision": "7"})
    assert said.revision == 7


def test_counters_are_told_apart_by_their_names() -> None:
    counters = counters_from_fields(
        {
            "runs:published": "3",
            "seconds:fetching": "1.5",
            "deliveries:hub": "2",
            "events:queued:hub:a": "4",
            "of a later version": "5",
        }
    )
    assert counters.runs == {**dict.fromkeys(Outcome, 0), Outcome.PUBLISHED: 3}
    assert counters.seconds == {State.FETCHING: 1.5}
    assert counters.deliveries == {"hub": 2}
    assert counters.events == {("hub:a", Verdict.QUEUED): 4}


def test_replies_are_text_whether_the_connection_decodes_or_not() -> None:
    assert as_fields({b"n\xc3\xa4me": b"1"}) == as_fields({"näme": "1"})


def test_a_field_of_a_type_that_nobody_reads_is_said_at_once() -> None:
    @dataclass
    class Extended:
        digest: str | None
        platforms: frozenset[str] = frozenset()

    with pytest.raises(TypeError, match=r"platforms: say in reading\.py how frozenset"):
        decoders(Extended)
