"""Each kind of sender: who is let in, and what a notification says normalised."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.senders import SENDERS, IncomingRequest
from webhook.senders.event import PushEvent
from webhook.senders.notification import UnreadableNotification, read_notification
from workers.config import Limits, Secret, SourceConfig

SAMPLES = Path(__file__).parent / "samples"
GOLDEN = sorted(SAMPLES.glob("*-[0-9].json"))
DIGEST = "sha256:4afff550708506c5b8b7384ad10d401a02b29ed587cb2730cb02753095b5178d"
INDEX = "application/vnd.oci.image.index.v1+json"
HEADER_KINDS = ["distribution", "gitlab"]


def source(kind: str, *secrets: str) -> SourceConfig:
    registry = "docker.io" if kind == "dockerhub" else "registry.example"
    return SourceConfig(
        "name", kind, tuple(Secret(s) for s in secrets or ("s3cret",)), registry
    )


def read(kind: str, document: object) -> list[PushEvent]:
    body = json.dumps(document).encode()
    return read_notification(body, SENDERS[kind], source(kind), Limits())


def hub(**push: Any) -> dict[str, Any]:
    repo_name = push.pop("repo_name", "acme/web")
    return {"push_data": push, "repository": {"repo_name": repo_name}}


def event(**more: Any) -> dict[str, Any]:
    target = {
        "mediaType": INDEX,
        "digest": DIGEST,
        "repository": "team/web",
        "tag": "1.4.2",
    }
    target |= more.pop("target", {})
    return {"id": "320678d8", "action": "push", "target": target, **more}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_recorded_notification_is_read_as_written_down(path: Path) -> None:
    # What stands beside each recording was checked against it by eye.
    document = json.loads(path.read_text())
    kind = path.stem.split("-")[0]
    expected = json.loads(path.with_suffix(".events.json").read_text())
    assert [dataclasses.asdict(one) for one in read(kind, document)] == expected


def test_every_kind_has_a_recorded_notification() -> None:
    assert {path.stem.split("-")[0] for path in GOLDEN} == set(SENDERS)


# Docker Hub


def test_an_official_image_of_docker_hub_gets_its_library() -> None:
    (one,) = read("dockerhub", hub(repo_name="busybox", tag="1"))
    assert one.reference == "docker.io/library/busybox:1"


@pytest.mark.parametrize(
    ("pushed_at", "time"),
    [
        (1760000000, 1760000000.0),
        (1.417566161e09, 1417566161.0),
        (1760000000.5, 1760000000.5),
        (10**400, None),
        (1760000000000, None),
        (-1, None),
        (0, None),
        ("1760000000", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_a_time_of_docker_hub_is_a_number_of_seconds_or_none(
    pushed_at: object, time: float | None
) -> None:
    (one,) = read("dockerhub", hub(tag="1", pushed_at=pushed_at))
    assert one.time == time
    assert one.problem is None


def test_a_push_to_docker_hub_may_lack_its_tag() -> None:
    (one,) = read("dockerhub", hub(images=None))
    assert (one.tag, one.reference, one.problem) == (None, None, None)
    assert read("dockerhub", hub(tag=None)) == [one]


def test_docker_hub_names_events_by_what_they_say_and_never_as_unique() -> None:
    (one,) = read("dockerhub", hub(tag="1", pushed_at=1760000000))
    (again,) = read("dockerhub", hub(tag="1", pushed_at=1.76e9, pusher="x"))
    (other,) = read("dockerhub", hub(tag="1", pushed_at=1760000001))
    assert one.event_id == again.event_id != other.event_id
    assert not one.is_id_unique


def test_the_media_type_that_docker_hub_tells_is_kept() -> None:
    (one,) = read("dockerhub", hub(tag="1", media_type=INDEX))
    assert one.media_type == INDEX


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "document: must be keys with values, not a list"),
        ({}, "push_data: is missing"),
        (hub(tag=1), "push_data.tag: must be text, not 1"),
        (hub(repo_name=7), "repository.repo_name: must be text, in quotes, not 7"),
        (hub(repo_name=""), "repository.repo_name: must not be empty"),
        ({"push_data": None, "repository": {}}, "push_data: must be keys with values"),
    ],
)
def test_a_body_that_docker_hub_never_sends_is_unreadable(
    document: object, told: str
) -> None:
    with pytest.raises(UnreadableNotification) as caught:
        read("dockerhub", document)
    assert told in str(caught.value)
    assert caught.value.status == 400


def test_docker_hub_proves_itself_by_the_path_alone() -> None:
    hub = SENDERS["dockerhub"]
    assert hub.authenticate(IncomingRequest({}, "s3cret"), source("dockerhub"))
    for request in (
        IncomingRequest({}),
        IncomingRequest({}, ""),
        IncomingRequest({}, "s3cret/"),
        IncomingRequest({}, "s3cre\xe9"),
        IncomingRequest({}, "\udce9\ufffd"),
        IncomingRequest({"authorization": "Bearer s3cret"}),
        IncomingRequest({}, body=b'{"secret": "s3cret"}'),
    ):
        assert not hub.authenticate(request, source("dockerhub"))


# Distribution and GitLab


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


def test_a_secret_beyond_ascii_arrives_as_its_bytes() -> None:
    sender = SENDERS["distribution"]
    as_wsgi = "Bearer schlüssel".encode().decode("latin-1")
    request = IncomingRequest({"authorization": as_wsgi})
    assert sender.authenticate(request, source("distribution", "schlüssel"))


@pytest.mark.parametrize("kind", sorted(SENDERS))
def test_either_of_two_secrets_opens_while_they_rotate(kind: str) -> None:
    two = source(kind, "old-secret", "new-secret")
    for secret in ("old-secret", "new-secret"):
        request = (
            IncomingRequest({}, secret)
            if kind == "dockerhub"
            else IncomingRequest({"authorization": f"Bearer {secret}"})
        )
        assert SENDERS[kind].authenticate(request, two)
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


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_time_in_nanoseconds_with_an_offset_is_read(kind: str) -> None:
    def time(text: object) -> float | None:
        return read(kind, {"events": [event(timestamp=text)]})[0].time

    assert time("2026-02-03T10:11:12.861402053+01:00") == 1770109872.861402
    assert time("2026-02-03T09:11:12Z") == 1770109872.0
    assert time("2026-02-03T09:11:12") == 1770109872.0
    for text in ("yesterday", "", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"):
        assert time(text) is None


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_manifest_pushed_by_digest_has_no_tag(kind: str) -> None:
    child = event()
    del child["target"]["tag"]
    (one,) = read(kind, {"events": [child]})
    assert (one.tag, one.digest, one.problem) == (None, DIGEST, None)


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_deletes_and_what_comes_later_are_read_too(kind: str) -> None:
    gone = {"id": "1", "action": "delete", "target": {"repository": "team/web"}}
    strange = event(action="consecrate")
    actions = [one.action for one in read(kind, {"events": [gone, strange]})]
    assert actions == ["delete", "other"]


def test_a_rename_of_gitlab_is_read() -> None:
    rename = {"type": "name", "from": "a/b", "to": "a/c"}
    (one,) = read("gitlab", {"events": [event(action="rename", rename=rename)]})
    assert one.action == "rename"


def test_the_token_that_gitlab_puts_beside_the_actor_is_never_kept() -> None:
    jwt = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0"
    actor = {"name": "ci", "user_type": "build", "user": jwt}
    (one,) = read("gitlab", {"events": [event(actor=actor)]})
    assert one.actor == "ci"
    assert jwt not in repr(one)
    for broken in (jwt, [jwt], {"name": [jwt]}, {"name": {"user": jwt}}):
        (one,) = read("gitlab", {"events": [event(actor=broken)]})
        assert one.problem is not None
        assert jwt not in repr(one)


@pytest.mark.parametrize("kind", HEADER_KINDS)
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (event(target={"repository": "../../etc"}), "repository name '../../etc'"),
        (event(target={"repository": "Team/web"}), "repository name 'Team/web'"),
        (event(target={"repository": "team/web\n"}), r"repository name 'team/web\n'"),
        (event(target={"repository": "a\0b"}), r"repository name 'a\x00b'"),
        (event(target={"repository": "a\ud800b"}), r"repository name 'a\ud800b'"),
        (event(target={"tag": "../../etc:x"}), "tag '../../etc:x' is not valid"),
        (event(target={"tag": "x" * 129}), "is not valid: use at most 128"),
        (event(target={"tag": "٣"}), "is not valid: use at most 128"),
        (event(target={"digest": "sha256:abc"}), "digest 'sha256:abc' is not valid"),
        (event(target={"tag": 1}), "target.tag: must be text"),
        (event(target={"repository": None}), "target.repository: must be text"),
        (event(action=None), "action: must be text"),
        ({"action": "push"}, "target: is missing"),
        ("event", "event: must be keys with values, not 'event'"),
        (None, "event: must be keys with values, not nothing"),
        ([[]], "event: must be keys with values, not a list"),
    ],
)
def test_one_bad_event_is_refused_and_its_neighbours_are_kept(
    kind: str, bad: object, told: str
) -> None:
    first, second, third = read(kind, {"events": [event(id="1"), bad, event(id="3")]})
    assert (first.event_id, third.event_id) == ("1", "3")
    assert first.problem is None
    assert third.problem is None
    assert second.problem is not None
    assert told in second.problem
    assert second.reference is None
    assert all(text.isprintable() for text in (second.repository, second.tag or ""))


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_an_id_that_stands_twice_in_one_envelope_is_two_events(kind: str) -> None:
    events = read(kind, {"events": [event(action="pull"), event()]})
    assert [one.action for one in events] == ["pull", "push"]
    assert all(one.event_id == "320678d8" and one.is_id_unique for one in events)


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_strange_id_is_named_by_its_hash(kind: str) -> None:
    for strange in ("x" * 200, "a\nb", "\ud800", "ünique"):
        (one,) = read(kind, {"events": [event(id=strange)]})
        assert one.event_id is not None
        assert len(one.event_id) == 64
    (one,) = read(kind, {"events": [event(id="")]})
    assert one.event_id is None


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_name_for_people_is_made_printable_and_short(kind: str) -> None:
    (one,) = read(
        kind, {"events": [event(actor={"name": "a\x1b[2J\ud800" + "b" * 999})]}
    )
    assert one.actor is not None
    assert one.actor.startswith("a\ufffd[2J\ufffdb")
    assert len(one.actor) == 255


@pytest.mark.parametrize("kind", HEADER_KINDS)
@pytest.mark.parametrize(
    "document", [{}, [], {"events": {}}, {"events": None}, 7, None]
)
def test_what_is_no_envelope_is_unreadable(kind: str, document: object) -> None:
    with pytest.raises(UnreadableNotification):
        read(kind, document)


def test_the_content_types_of_both_generations_are_known() -> None:
    plain = {"application/json"}
    generations = {
        "application/vnd.docker.distribution.events.v1+json",
        "application/vnd.docker.distribution.events.v2+json",
    }
    for kind, expected in (
        ("distribution", plain | generations),
        ("gitlab", plain | generations),
        ("dockerhub", plain),
    ):
        types = SENDERS[kind].CONTENT_TYPES
        assert types == expected


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
