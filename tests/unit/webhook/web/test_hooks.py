"""The route of all senders: what each is answered, and what strangers learn."""

import codecs
import html
import io
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    WebApp,
    create_web_app,
    write_config,
)
from webhook.senders.envelope import LARGEST_BYTES
from workers.ledger import State, Verdict

INDEX = "application/vnd.oci.image.index.v1+json"
EVENTS = "application/vnd.docker.distribution.events.v1+json"
DIGEST = f"sha256:{'0' * 64}"
BEARER = {"Authorization": "Bearer s3cret", "Content-Type": EVENTS}
HUB = {
    "push_data": {"tag": "1.4.2", "pushed_at": 1760000000, "pusher": "acmebot"},
    "repository": {"repo_name": "acme/web"},
}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that tests may stop and change."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def config(redis_server: RedisServer, tmp_path: Path) -> Path:
    return write_config(tmp_path, redis_server)


@pytest.fixture
def web(config: Path) -> Iterator[WebApp]:
    with create_web_app(config) as made:
        yield made


def event(repository: str = "team/web", **more: Any) -> dict[str, Any]:
    target = {"mediaType": INDEX, "digest": DIGEST, "repository": repository}
    target |= {"tag": "1"} | more.pop("target", {})
    identity = f"{random.getrandbits(64):016x}"
    return {"id": identity, "action": "push", "target": target, **more}


def push(web: WebApp, *events: object, **more: Any) -> TestResponse:
    """Send events as Distribution does."""
    options = {
        "path": "/hooks/local",
        "headers": BEARER,
        "data": json.dumps({"events": events}),
    }
    return web.client.post(**(options | more))


def hub(web: WebApp, path: str, body: object = HUB, **more: Any) -> TestResponse:
    return web.client.post(path, json=body, **more)


def test_a_push_to_docker_hub_is_queued(web: WebApp) -> None:
    answer = hub(web, "/hooks/hub/s3cret")
    assert answer.status_code == 202
    content = answer.get_json()
    assert content["images"] == [
        {
            "reference": "docker.io/acme/web:1.4.2",
            "decision": "queued",
            "reason": "rule 1 (line 3): allow docker.io/acme/*",
        }
    ]
    assert web.queue.depth() == 1
    image = web.ledger.image("docker.io/acme/web:1.4.2")
    assert image is not None
    assert image.state is State.QUEUED
    delivery = web.ledger.delivery(content["delivery"])
    assert delivery is not None
    assert (delivery.source, delivery.sender) == ("hub", "127.0.0.1")
    assert delivery.events[0].actor == "acmebot"


def test_both_secrets_of_a_rotation_work(web: WebApp) -> None:
    assert hub(web, "/hooks/hub/next-secret").status_code == 202
    assert hub(web, "/hooks/hub/s3cret").status_code == 202


@pytest.mark.parametrize(
    "header", ["Bearer s3cret", "s3cret", "bearer s3cret", "Bearer  s3cret "]
)
def test_a_push_to_distribution_is_queued(web: WebApp, header: str) -> None:
    headers = {"Authorization": header, "Content-Type": EVENTS}
    answer = push(web, event(), headers=headers)
    assert answer.status_code == 202
    image = web.ledger.image("registry.example/team/web:1")
    assert image is not None
    assert image.hint is not None
    assert image.hint.digest == DIGEST


@pytest.mark.parametrize(
    "content_type",
    [
        EVENTS,
        "application/vnd.docker.distribution.events.v2+json",
        "application/json",
        "Application/JSON; charset=utf-8",
    ],
)
def test_every_content_type_of_the_sender_is_taken(
    web: WebApp, content_type: str
) -> None:
    headers = BEARER | {"Content-Type": content_type}
    assert push(web, event(), headers=headers).status_code == 202


def test_a_secret_beyond_ascii_is_taken(web: WebApp) -> None:
    value = "Bearer schlüssel".encode().decode("latin-1")
    headers = {"Authorization": value, "Content-Type": EVENTS}
    answer = push(web, event(), path="/hooks/lab", headers=headers)
    assert answer.status_code == 202


def test_what_nobody_allows_is_refused_with_a_2xx(web: WebApp) -> None:
    answer = push(web, event("strange/web"))
    assert answer.status_code == 200
    assert answer.get_json()["images"] == [
        {
            "reference": "registry.example/strange/web:1",
            "decision": "refused",
            "reason": "no rule allows this name",
        }
    ]
    image = web.ledger.image("registry.example/strange/web:1")
    assert image is not None
    assert image.state is State.REFUSED
    assert web.queue.depth() == 0


def test_layers_and_pulls_are_no_images_and_fill_no_ledger(web: WebApp) -> None:
    layer = event(target={"mediaType": "application/octet-stream"})
    del layer["target"]["tag"]
    answer = push(web, layer, event(action="pull"), event(action="mount"))
    assert answer.status_code == 200
    assert answer.get_json()["images"] == []
    assert web.ledger.deliveries() == []


def test_a_manifest_without_a_tag_starts_nothing(web: WebApp) -> None:
    child = event()
    del child["target"]["tag"]
    answer = push(web, child)
    assert answer.status_code == 200
    (image,) = answer.get_json()["images"]
    assert image["reference"] == f"registry.example/team/web@{DIGEST}"
    assert image["decision"] == "ignored"
    assert web.ledger.counts()[State.QUEUED] == 0


def test_one_bad_event_does_not_lose_its_neighbours(web: WebApp) -> None:
    answer = push(
        web,
        event("team/one"),
        event("../../etc", target={"tag": "x"}),
        event("team/two", target={"tag": "../../etc:x"}),
        {"action": "push"},
        "no event",
        event("team/three"),
    )
    assert answer.status_code == 202
    decisions = [
        (image["reference"], image["decision"]) for image in answer.get_json()["images"]
    ]
    assert decisions == [
        ("registry.example/team/one:1", "queued"),
        (None, "refused"),
        (None, "refused"),
        (None, "refused"),
        (None, "refused"),
        ("registry.example/team/three:1", "queued"),
    ]
    reasons = [image["reason"] for image in answer.get_json()["images"]]
    assert "repository name '../../etc' is not valid" in reasons[1]
    assert "tag '../../etc:x' is not valid" in reasons[2]
    assert web.queue.depth() == 2


def test_the_same_event_again_is_a_duplicate(web: WebApp) -> None:
    again = event()
    assert push(web, again).status_code == 202
    answer = push(web, again)
    assert answer.status_code == 200
    (image,) = answer.get_json()["images"]
    assert image["decision"] == "duplicate"


def test_one_id_for_a_pull_and_a_push_is_no_duplicate(web: WebApp) -> None:
    answer = push(web, event(id="1", action="pull"), event(id="1"))
    assert answer.status_code == 202
    both = push(web, event(id="2"), event("team/other", id="2"))
    assert [i["decision"] for i in both.get_json()["images"]] == ["queued", "queued"]


def test_pushes_that_come_together_wait_as_one_job(web: WebApp) -> None:
    for _ in range(6):
        assert hub(web, "/hooks/hub/s3cret").status_code == 202
    assert web.queue.depth() == 1


def test_a_changed_policy_decides_at_once(web: WebApp, config: Path) -> None:
    assert push(web, event("new/web")).status_code == 200
    policy = config.with_name("policy.yaml")
    policy.write_text(policy.read_text() + "  - allow: registry.example/new/*\n")
    assert push(web, event("new/web")).status_code == 202


# Strangers

STRANGERS = [
    ("/hooks/nobody/s3cret", {}),
    ("/hooks/nobody", {"Authorization": "Bearer s3cret"}),
    ("/hooks/hub/wrong-secret", {}),
    ("/hooks/hub", {}),
    ("/hooks/hub/", {}),
    ("/hooks/hub/s3cret//x", {}),
    ("/hooks/s3cret", {}),
    ("/hooks/hub/s3cret/more", {}),
    ("/hooks/hub/s3cr%E9t", {}),
    ("/hooks/hub/%00", {}),
    ("/hooks/hub?secret=s3cret", {}),
    ("/hooks/hub", {"Authorization": "Bearer s3cret"}),
    ("/hooks/off/s3cret", {}),
    ("/hooks/local", {}),
    ("/hooks/local", {"Authorization": ""}),
    ("/hooks/local", {"Authorization": "Bearer "}),
    ("/hooks/local", {"Authorization": "Bearer wrong"}),
    ("/hooks/local", {"Authorization": "Bearer s3cret\xe9\xff"}),
    ("/hooks/local/s3cret", {}),
    ("/hooks/local/s3cret", {"Authorization": "Bearer s3cret"}),
    ("/hooks/LOCAL", {"Authorization": "Bearer s3cret"}),
    ("/hooks/%6eobody", {}),
    ("/hooks/..", {}),
]


@pytest.mark.parametrize("body", [b"{}", b"\xff", b"[" * 10_000, b""])
def test_strangers_learn_nothing_from_one_answer_or_another(
    web: WebApp, body: bytes
) -> None:
    client = web.client
    answers = set()
    for path, headers in STRANGERS:
        for content_type in ("application/json", "text/plain", None):
            for encoding in ({}, {"Content-Encoding": "gzip"}):
                answer = client.post(
                    path,
                    data=body,
                    headers=headers | encoding,
                    content_type=content_type,
                )
                answers.add((answer.status, answer.data, tuple(answer.headers)))
    ((status, data, sent),) = answers
    assert status == "404 NOT FOUND"
    assert json.loads(data) == {"error": "not found"}
    assert dict(sent)["Cache-Control"] == "no-store"
    assert web.ledger.deliveries() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_other_methods_have_one_answer_for_all(web: WebApp, method: str) -> None:
    client = web.client
    answers = set()
    for path in (
        "/hooks/hub/s3cret",
        "/hooks/nobody/x",
        "/hooks/local",
        "/hooks/off/x",
    ):
        answer = client.open(path, method=method, headers={"Origin": "https://a.b"})
        answers.add((answer.status, answer.data, tuple(answer.headers)))
    ((status, _, headers),) = answers
    assert status == "405 METHOD NOT ALLOWED"
    assert dict(headers)["Allow"] == "POST"
    assert not any(name.startswith("Access-Control") for name, _ in headers)


def test_nothing_is_ever_redirected(web: WebApp) -> None:
    client = web.client
    for path in (
        "//hooks/hub/s3cret",
        "/hooks//hub/s3cret",
        "/hooks/hub//s3cret",
        "/hooks/",
        "/hooks",
        "/hooks/./hub/s3cret",
    ):
        answer = client.post("/", json=HUB, environ_overrides={"PATH_INFO": path})
        assert answer.status_code // 100 != 3, path
        assert "Location" not in answer.headers


def test_the_log_has_one_line_and_no_secret(
    web: WebApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    expected = [
        ("/hooks/hub/s3cret", "source=hub outcome='queued' status=202"),
        ("/hooks/hub/wr0ng-s3cret", "source=hub outcome='wrong secret' status=404"),
        ("/hooks/s3cret", "source=- outcome='unknown source' status=404"),
        ("/hooks/off/s3cret", "source=off outcome='disabled' status=404"),
    ]
    for path, told in expected:
        caplog.clear()
        hub(web, path)
        lines = [
            r.getMessage() for r in caplog.records if r.name == "webhook.web.hooks"
        ]
        assert len(lines) == 1
        assert told in lines[0]
        assert "s3cret" not in caplog.text
    caplog.clear()
    push(web, "no event")
    assert "source=local outcome='nothing to do' status=200" in caplog.text
    assert "delivery=-" not in caplog.text
    levels = {r.levelno for r in caplog.records if r.name == "webhook.web.hooks"}
    assert levels == {logging.DEBUG}
    assert "s3cret" not in caplog.text


# Bad input of senders that are known


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[" * 10_000 + b"]" * 10_000, "nested deeper than 32 levels"),
        (b'{"events": ' * 10_000, "nested deeper than 32 levels"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
        (b"null", "document: must be keys with values, not nothing"),
        (b"{}", "events: is missing"),
        (b'{"events": [], "events": []}', "the key 'events' stands twice"),
        (b'{"events": [NaN]}', "NaN is no JSON number"),
        (b'{"events": [' + b"9" * 5000 + b"]}", "a number has too many digits"),
        (b'{"events": {"a": "\\ud800"}}', "events: must be a list"),
    ],
)
def test_what_cannot_be_read_is_refused_and_on_record(
    web: WebApp, body: bytes, told: str
) -> None:
    check_refusal(web, push(web, data=body), told)
    assert push(web, event()).status_code == 202


def check_refusal(web: WebApp, answer: TestResponse, told: str) -> None:
    """Check that a sender that repeats goes on, and that the operator hears of it."""
    assert answer.status_code == 200
    content = answer.get_json()
    (image,) = content["images"]
    assert (image["reference"], image["decision"]) == (None, "refused")
    assert told in image["reason"]
    assert image["reason"].isprintable()
    delivery = web.ledger.delivery(content["delivery"])
    assert delivery is not None
    (kept,) = delivery.events
    assert (kept.verdict, kept.action) == (Verdict.REFUSED, "unreadable")
    assert kept.reason == image["reason"]
    listed = web.client.get("/api/v1/deliveries", headers=OPERATOR)
    assert content["delivery"] in listed.get_data(as_text=True)
    page = web.client.get("/deliveries", headers=OPERATOR)
    assert told in html.unescape(page.get_data(as_text=True))


def test_who_does_not_repeat_is_told_by_the_status(web: WebApp) -> None:
    for status, sent in (
        (400, {"data": b"{"}),
        (413, {"data": b" " * 1_048_577}),
        (415, {"data": b"{}", "headers": {"Content-Type": "text/plain"}}),
    ):
        options = {"headers": {"Content-Type": "application/json"}} | sent
        answer = web.client.post("/hooks/hub/s3cret", **options)
        assert answer.status_code == status
        content = answer.get_json()
        delivery = web.ledger.delivery(content["delivery"])
        assert delivery is not None
        assert delivery.events[0].reason == content["error"]


def test_what_strangers_make_large_does_not_stop_a_registry(web: WebApp) -> None:
    # What a client calls itself, as Go's encoder writes it.
    large = b'"' + b"\\u003c" * 180_000 + b'"'
    pull = event(action="pull", request={"useragent": "HERE"})
    body = json.dumps({"events": [pull]}).encode().replace(b'"HERE"', large)
    assert len(body) > 1_048_576
    answer = push(web, data=body)
    assert (answer.status_code, answer.get_json()["images"]) == (200, [])
    more = event(target={"references": [{"annotations": {"a": "HERE"}}]})
    body = json.dumps({"events": [more]}).encode().replace(b'"HERE"', large)
    assert push(web, data=body).status_code == 202


def test_more_than_any_registry_sends_is_refused(web: WebApp) -> None:
    head = {"CONTENT_LENGTH": str(2 * LARGEST_BYTES)}
    answer = push(web, environ_overrides=head | {"wsgi.input": io.RawIOBase()})
    check_refusal(web, answer, "the notification is too large")


def test_a_byte_order_mark_is_read(web: WebApp) -> None:
    body = codecs.BOM_UTF8 + json.dumps({"events": [event()]}).encode()
    assert push(web, data=body).status_code == 202
    body = codecs.BOM_UTF8 + json.dumps(HUB).encode()
    answer = web.client.post(
        "/hooks/hub/s3cret", data=body, content_type="application/json"
    )
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "path",
    ["/hooks/local/", "//hooks/local", "///hooks/local//", "/hooks/hub/s3cret/"],
)
def test_slashes_too_many_are_the_same_route(web: WebApp, path: str) -> None:
    there = {"PATH_INFO": path}
    if "hub" in path:
        answer = hub(web, "/", environ_overrides=there)
    else:
        answer = push(web, event(), path="/", environ_overrides=there)
    assert answer.status_code == 202


def test_a_fault_in_reading_stops_nobody(
    web: WebApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr("webhook.senders.notification.schema_problems", fault)
        check_refusal(web, push(web, data=b"{}"), "a fault of ours")
    assert "RuntimeError: a fault" in caplog.text


def test_a_fault_in_judging_stops_nobody(
    web: WebApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr("webhook.intake.intake.judge", fault)
        answer = push(web, event())
    assert answer.status_code == 200
    (image,) = answer.get_json()["images"]
    assert image["decision"] == "refused"
    assert "a fault of ours" in image["reason"]
    assert "RuntimeError: a fault" in caplog.text
    assert push(web, event()).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity, br"},
    ],
)
def test_another_content_type_or_encoding_is_refused(
    web: WebApp, headers: dict[str, str]
) -> None:
    answer = push(web, event(), headers=BEARER | headers)
    check_refusal(
        web,
        answer,
        "Content-Encoding" if "Content-Encoding" in headers else "content type",
    )
    assert web.queue.depth() == 0


def test_too_many_events_are_refused(web: WebApp) -> None:
    answer = push(web, *[event(f"team/n{n}") for n in range(101)])
    check_refusal(web, answer, "more than 100 events")
    assert web.queue.depth() == 0
    answer = push(web, *[event(f"team/n{n}") for n in range(100)])
    assert answer.status_code == 202
    assert web.queue.depth() == 100


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/hooks/hub/s3cret", 413, "the notification is too large"),
        ("/hooks/nobody", 404, "not found"),
        ("/hooks/hub/wrong", 404, "not found"),
    ],
)
def test_a_body_that_announces_its_size_is_refused_unread(
    web: WebApp, path: str, status: int, reason: str
) -> None:
    # Reading this raises, which would be another answer.
    untouchable = io.RawIOBase()
    answer = push(
        web,
        path=path,
        environ_overrides={
            "wsgi.input": untouchable,
            "CONTENT_LENGTH": "100000000",
        },
    )
    assert answer.status_code == status
    assert answer.get_json()["error"] == reason


def test_a_body_that_breaks_off_is_a_400(web: WebApp) -> None:
    longer = {"CONTENT_LENGTH": "1000"}
    answer = push(web, event(), environ_overrides=longer)
    assert answer.status_code == 400
    assert answer.get_json() == {"error": "the request broke off"}
    stranger = push(web, path="/hooks/nobody", environ_overrides=longer)
    assert stranger.status_code == 404


def test_of_a_notification_so_much_is_kept_as_the_limit_says(web: WebApp) -> None:
    body = json.dumps({"events": [event()]}).encode().ljust(1_048_576)
    assert push(web, data=body).status_code == 202
    check_refusal(web, push(web, data=body + b" "), "the notification is too large")


# When things break


@pytest.fixture
def forgetful(redis_server: RedisServer) -> Iterator[None]:
    """Let the server lose what it has just accepted, if its power fails."""
    with redis_server.client() as connection:
        connection.config_set("appendfsync", "everysec")
        yield
        connection.config_set("appendfsync", "always")


def test_a_redis_that_may_forget_is_a_503(web: WebApp, forgetful: None) -> None:
    answer = push(web, event())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert web.ledger.image("registry.example/team/web:1") is None


def test_an_operator_who_answers_for_redis_is_trusted(
    config: Path, forgetful: None
) -> None:
    text = config.read_text().replace("queue: {", "queue: {durability: trusted, ")
    config.write_text(text)
    with create_web_app(config) as web:
        assert push(web, event()).status_code == 202


@pytest.mark.slow
def test_a_redis_that_is_away_is_a_503_and_nothing_else(
    redis_server: RedisServer, web: WebApp
) -> None:
    assert push(web, event()).status_code == 202
    redis_server.kill()
    try:
        for answer in (push(web, event()), push(web, event())):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "5"
            assert "redis" not in answer.get_data(as_text=True).lower()
        assert push(web, data=b"{").status_code == 503
        assert web.client.post("/hooks/hub/s3cret", data=b"{").status_code == 415
        assert push(web, event(action="pull")).status_code == 200
        assert hub(web, "/hooks/hub/wrong").status_code == 404
    finally:
        redis_server.start()


def test_a_fault_of_ours_is_a_503_without_a_trace_of_the_path(
    web: WebApp,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(web.queue, "enqueue_accepted", fault)
    answer = hub(web, "/hooks/hub/s3cret")
    assert answer.status_code == 503
    assert "fault" not in answer.get_data(as_text=True)
    assert "RuntimeError: a fault" in caplog.text
    assert "s3cret" not in caplog.text
