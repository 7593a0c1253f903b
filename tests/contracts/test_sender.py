"""What every kind of sender keeps: who is let in, and that a notification is read."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness.notifications import (
    DIGEST,
    HEADER_KINDS,
    INDEX,
    event,
    read,
    source,
)
from webhook.senders import SENDERS, IncomingRequest
from webhook.senders.notification import UnreadableNotification, largest_bytes
from webhook.senders.sender import Reaction
from workers.config import Limits
from workers.config.source_kinds import SOURCE_KINDS

SAMPLES = Path(__file__).parent / "samples"
GOLDEN = sorted(SAMPLES.glob("*-[0-9].json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_recorded_notification_is_read_as_written_down(path: Path) -> None:
    # What stands beside each recording was checked against it by eye.
    document = json.loads(path.read_text())
    kind = path.stem.split("-")[0]
    expected = json.loads(path.with_suffix(".events.json").read_text())
    assert [dataclasses.asdict(one) for one in read(kind, document)] == expected


def test_every_kind_has_a_recorded_notification() -> None:
    assert {path.stem.split("-")[0] for path in GOLDEN} == set(SENDERS)


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_the_authorization_header_holds_the_secret_bare_or_as_bearer(kind: str) -> None:
    sender = SENDERS[kind]
    for value in ("s3cret", "Bearer s3cret", "bearer s3cret", "BEARER  s3cret"):
        request = IncomingRequest({"authorization": value})
        assert sender.authenticate(request, source(kind)), value
    for value in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cret2",
        "Bearer Bearer s3cret",
        "Basic s3cret",
        "Basic czNjcmV0OnMzY3JldA==",
        "S3CRET",
        "s3cret, s3cret",
        "Bearer s\xc3\xa9cret",
        "\u20ac",
    ):
        request = IncomingRequest({"authorization": value})
        assert not sender.authenticate(request, source(kind)), value
    assert not sender.authenticate(IncomingRequest({}), source(kind))


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_secret_in_the_path_does_not_open_what_a_header_guards(kind: str) -> None:
    sender = SENDERS[kind]
    assert not sender.authenticate(IncomingRequest({}, "s3cret"), source(kind))
    both = IncomingRequest({"authorization": "s3cret"}, "s3cret")
    assert not sender.authenticate(both, source(kind))


@pytest.mark.parametrize("kind", sorted(SENDERS))
def test_either_of_two_secrets_opens_while_they_rotate(kind: str) -> None:
    two = source(kind, "old-secret", "new-secret")
    for secret in ("old-secret", "new-secret"):
        assert SENDERS[kind].authenticate(request_of(kind, secret), two)
    assert not SENDERS[kind].authenticate(IncomingRequest({}, "old"), two)


@pytest.mark.parametrize("kind", sorted(SENDERS))
def test_a_source_without_secrets_lets_nobody_in(kind: str) -> None:
    none = dataclasses.replace(source(kind), secrets=())
    for request in (IncomingRequest({}), IncomingRequest({"authorization": ""}, "")):
        assert not SENDERS[kind].authenticate(request, none)


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_the_registry_is_the_configurations_whatever_the_event_says(kind: str) -> None:
    lying = event(
        request={"host": "evil.example"},
        source={"addr": "evil.example:5000"},
        target={"url": "https://evil.example/v2/team/web/manifests/1"},
    )
    (one,) = read(kind, {"events": [lying]})
    assert one.reference == "registry.example/team/web:1.4.2"
    assert "evil" not in str(one)


# Anything at all

texts = st.text(max_size=20) | st.sampled_from(["push", "a/b", "latest", DIGEST, INDEX])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
# Shaped nearly like the real thing, so that the deeper places are reached.
targets = st.fixed_dictionaries(
    {"repository": scalars},
    optional={"tag": json_values, "digest": json_values, "mediaType": json_values},
)
events = st.fixed_dictionaries(
    {"action": scalars, "target": targets | json_values},
    optional={"id": json_values, "timestamp": json_values, "actor": json_values},
)
envelopes = st.fixed_dictionaries(
    {"events": st.lists(events | json_values, max_size=3)}
)
hub_bodies = st.fixed_dictionaries(
    {
        "push_data": st.fixed_dictionaries(
            {},
            optional={
                "tag": json_values,
                "pushed_at": json_values,
                "pusher": json_values,
            },
        ),
        "repository": st.fixed_dictionaries({"repo_name": texts}) | json_values,
    }
)


@given(st.sampled_from(sorted(SENDERS)), json_values | envelopes | hub_bodies)
def test_any_json_is_read_or_refused_with_our_own_error(
    kind: str, document: object
) -> None:
    try:
        found = read(kind, document)
    except UnreadableNotification as exc:
        assert str(exc).isprintable()  # noqa: PT017 - both outcomes are right
        return
    for one in found:
        # What is kept must fit into UTF-8, a log line and a page.
        for value in dataclasses.astuple(one):
            if isinstance(value, str):
                assert value.isprintable()
                value.encode()
        if one.problem is None:
            assert one.registry == source(kind).registry


def request_of(kind: str, secret: str) -> IncomingRequest:
    """Return what proves a secret to a sender of a kind."""
    if SOURCE_KINDS[kind].has_secret_in_path:
        return IncomingRequest({}, secret)
    return IncomingRequest({"authorization": f"Bearer {secret}"})


def golden(kind: str) -> list[Any]:
    return [
        json.loads(path.read_text())
        for path in GOLDEN
        if path.stem.split("-")[0] == kind
    ]


def test_the_configuration_knows_the_kinds_that_there_are() -> None:
    assert SOURCE_KINDS.keys() == SENDERS.keys()


@pytest.mark.parametrize("kind", SENDERS)
def test_the_proof_of_its_own_kind_is_taken_and_of_no_other(kind: str) -> None:
    one = source(kind)
    secret = one.secrets[0].reveal()
    assert SENDERS[kind].authenticate(request_of(kind, secret), one)
    assert not SENDERS[kind].authenticate(request_of(kind, secret + "x"), one)
    for other, its in SOURCE_KINDS.items():
        if its.has_secret_in_path is not SOURCE_KINDS[kind].has_secret_in_path:
            assert not SENDERS[kind].authenticate(request_of(other, secret), one)


@pytest.mark.parametrize("kind", SENDERS)
def test_its_administrator_is_told_where_to_send_and_with_which_secret(
    kind: str,
) -> None:
    url = "https://cvmfs-webhook.example.org/hooks/name"
    told = SENDERS[kind].setup(url, source(kind))
    text = "\n".join(told)
    assert url in text
    assert source(kind).secrets[0].reveal() in text
    assert all(line.isprintable() for line in told)
    others = [SENDERS[other].setup(url, source(other)) for other in SENDERS]
    assert others.count(told) == 1


@pytest.mark.parametrize("kind", SENDERS)
def test_content_types_are_lower_case_and_without_parameters(kind: str) -> None:
    types = SENDERS[kind].CONTENT_TYPES
    assert types
    for one in types:
        assert one == one.lower().strip()
        assert ";" not in one


@pytest.mark.parametrize("kind", SENDERS)
def test_the_schema_takes_what_was_recorded_and_refuses_what_is_empty(
    kind: str,
) -> None:
    schema = SENDERS[kind].schema()
    assert all(schema.is_valid(document) for document in golden(kind))
    nothing: list[object] = [{}, [], None, ""]
    assert not any(schema.is_valid(document) for document in nothing)


@pytest.mark.parametrize("kind", SENDERS)
def test_parsing_needs_nothing_but_the_document(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, one = SENDERS[kind], source(kind)
    first = [list(sender.parse(document, one)) for document in golden(kind)]

    def stop(*_: object, **__: object) -> None:
        raise AssertionError("a sender is pure")

    monkeypatch.setattr("time.time", stop)
    monkeypatch.setattr("builtins.open", stop)
    assert [list(sender.parse(document, one)) for document in golden(kind)] == first


# As 5.4 of the design has them: what an authenticated sender may be answered.
KEPT = (200, 202)
HOPELESS = (400, 413, 415)
TRY_AGAIN = 503


@pytest.mark.parametrize("kind", SENDERS)
def test_no_event_stops_those_behind_it_and_none_is_lost_for_a_trouble_of_ours(
    kind: str,
) -> None:
    habits = SENDERS[kind].HABITS
    assert all(habits.reaction(status) is Reaction.DONE for status in KEPT)
    for status in HOPELESS:
        told = habits.status_of_refusal(status)
        assert habits.reaction(told) is not Reaction.AGAIN
        # Who goes on anyway is told what is wrong.
        assert told in ({status} if habits.repeats == 0 else {200})
    if habits.repeats != 0:
        assert habits.reaction(TRY_AGAIN) is Reaction.AGAIN


@pytest.mark.parametrize("kind", SENDERS)
def test_what_repeats_in_order_is_read_however_large_strangers_make_it(
    kind: str,
) -> None:
    sender = SENDERS[kind]
    bound = Limits().body_bytes
    if not sender.HABITS.is_in_order:
        assert largest_bytes(sender, Limits()) == bound
        return
    # Headers of 1 MiB and a manifest of 4 MiB, each byte of them written as six.
    assert largest_bytes(sender, Limits()) >= 30 * 1024 * 1024
    for document in golden(kind):
        for one in document["events"]:
            one["request"] = {"useragent": "<" * bound}
            one["target"]["references"] = [{"annotations": {"<" * bound: "tag"}}]
        assert read(kind, document) == read(kind, golden_like(document))


def golden_like(document: Any) -> Any:
    """Return the document without what was added."""
    events = [
        {key: value for key, value in one.items() if key != "request"}
        for one in document["events"]
    ]
    for one in events:
        target = one["target"]
        one["target"] = {k: v for k, v in target.items() if k != "references"}
    return document | {"events": events}


@pytest.mark.parametrize("kind", SENDERS)
def test_an_event_has_a_name_or_says_what_is_wrong(kind: str) -> None:
    for document in golden(kind):
        for one in SENDERS[kind].parse(document, source(kind)):
            assert (one.reference is None) or one.problem is None
            assert one.registry == source(kind).registry
