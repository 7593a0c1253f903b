"""The API: what a program may ask, and what the operator alone may."""

from pathlib import Path

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    WebApp,
    csrf_token,
    log_in,
    open_web_app,
)
from workers.ledger import State

IMAGE = f"/api/v1/images/{REFERENCE}"


def test_a_name_may_be_written_as_people_write_it(web: WebApp) -> None:
    web.driver.make_live(D1, "docker.io/library/alpine:latest")
    assert web.client.get("/api/v1/images/alpine").get_json()["state"] == "live"


def test_an_image_that_nobody_pushed_is_not_found_but_judged(web: WebApp) -> None:
    path = "/api/v1/images/docker.io/unknownuser/miner:latest"
    answer = web.client.get(path, headers=OPERATOR)
    assert answer.status_code == 404
    assert "nobody has pushed" in answer.get_json()["error"]
    assert answer.get_json()["policy"]["allowed"] is False
    assert "not a namespace" in answer.get_json()["policy"]["reason"]


@pytest.mark.parametrize("name", ["UPPER", "../../etc:x", "a//b", "x:", "a%00b", "x@y"])
def test_what_is_no_name_is_refused_in_one_line(web: WebApp, name: str) -> None:
    answer = web.client.get(f"/api/v1/images/docker.io/{name}")
    assert answer.status_code in {400, 404}
    assert "\n" not in answer.get_json()["error"]


def test_a_list_is_paged_and_leads_to_its_next_page(web: WebApp) -> None:
    names = [f"registry.example.org/a/b:{number}" for number in range(5)]
    for name in names:
        web.driver.push(D1, name)
        web.driver.clock.passes(1)
    client = web.client
    seen: list[str] = []
    path: str | None = "/api/v1/images?limit=2&q=a/b"
    while path:
        page = client.get(path, headers=OPERATOR).get_json()
        assert page["total"] == 5
        seen += [image["reference"] for image in page["images"]]
        path = page["next"]
    assert seen == names[::-1]


def test_a_list_can_be_narrowed_to_a_state_and_a_part_of_a_name(web: WebApp) -> None:
    web.driver.make_live(D1, "registry.example.org/atlas/one:v1")
    web.driver.push(D1, "registry.example.org/atlas/two:v1")
    web.driver.push(D1, "registry.example.org/cms/one:v1")
    client = web.client

    def names(query: str) -> list[str]:
        path = f"/api/v1/images?{query}"
        page = client.get(path, headers=OPERATOR).get_json()
        return [image["reference"].partition("/")[2] for image in page["images"]]

    assert names("state=live") == ["atlas/one:v1"]
    assert sorted(names("q=one")) == ["atlas/one:v1", "cms/one:v1"]
    assert names("q=one&state=queued") == ["cms/one:v1"]
    answer = client.get("/api/v1/images", headers=OPERATOR)
    counts = answer.get_json()["counts"]
    assert (counts["live"], counts["queued"], counts["failed"]) == (1, 2, 0)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=1e9",
        "limit=²",
        "offset=99999999999999999999",
        "state=asleep",
        f"q={'x' * 301}",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(web: WebApp, query: str) -> None:
    answer = web.client.get(f"/api/v1/images?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]


def test_who_has_the_newest_answer_is_told_so_without_a_body(web: WebApp) -> None:
    web.driver.make_live(D1)
    client = web.client
    known = {}
    for path in (IMAGE, "/api/v1/images"):
        first = client.get(path)
        assert first.headers["Cache-Control"] == "no-cache"
        known[path] = {"If-None-Match": first.headers["ETag"]}
        again = client.get(path, headers=known[path])
        assert (again.status_code, again.data) == (304, b"")
    web.driver.push(D2)
    for path, tag in known.items():
        assert client.get(path, headers=tag).status_code == 200


def test_deliveries_and_events_are_the_operators(web: WebApp) -> None:
    for path in ("/api/v1/deliveries", "/api/v1/events"):
        assert web.client.get(path).status_code == 401
        answer = web.client.get(path, headers=OPERATOR)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_delivery_says_what_became_of_each_of_its_events(web: WebApp) -> None:
    web.driver.push(D1, unique_id="e1")
    web.driver.refuse("docker.io/unknownuser/miner:latest", "no rule")
    answer = web.client.get("/api/v1/deliveries", headers=OPERATOR).get_json()
    refused, queued = answer["deliveries"]
    assert refused["events"][0]["verdict"] == "refused"
    assert refused["events"][0]["reason"] == "no rule"
    assert queued["source"] == "hub"
    assert queued["sender"] == "192.0.2.1"
    assert queued["time"] == "2027-01-15T08:00:00Z"
    assert queued["events"][0]["digest"] == D1
    assert queued["events"][0]["actor"] == "ana"


def test_events_are_followed_by_a_cursor(web: WebApp) -> None:
    client = web.client
    web.driver.push(D1)
    first = client.get("/api/v1/events", headers=OPERATOR).get_json()
    assert [event["state"] for event in first["events"]] == ["queued"]
    path = f"/api/v1/events?after={first['cursor']}"
    nothing = client.get(path, headers=OPERATOR).get_json()
    assert nothing == {"events": [], "cursor": first["cursor"]}
    web.driver.begin()
    new = client.get(path, headers=OPERATOR).get_json()["events"]
    assert [event["state"] for event in new] == ["resolving"]


def test_a_cursor_that_is_none_is_refused(web: WebApp) -> None:
    path = "/api/v1/events?after=yesterday"
    answer = web.client.get(path, headers=OPERATOR)
    assert answer.status_code == 400
    assert "after" in answer.get_json()["error"]


def test_the_operator_asks_for_an_image_and_it_is_queued(web: WebApp) -> None:
    answer = web.client.post(
        "/api/v1/images", json={"reference": REFERENCE}, headers=OPERATOR
    )
    assert answer.status_code == 202
    assert answer.get_json()["reference"] == REFERENCE
    assert answer.get_json()["decision"] == "queued"
    assert web.driver.image().state is State.QUEUED
    assert web.queue.depth() == 1


def test_what_the_policy_refuses_is_refused_to_the_operator_too(web: WebApp) -> None:
    name = "docker.io/unknownuser/miner:latest"
    answer = web.client.post(
        "/api/v1/images", json={"reference": name}, headers=OPERATOR
    )
    assert answer.status_code == 403
    assert answer.get_json()["decision"] == "refused"
    assert "not a namespace" in answer.get_json()["error"]
    assert web.driver.ledger.image(name) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b'{"reference": "a/b:c"}', "text/plain", 415),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"reference": 7}', "application/json", 400),
        (b'{"reference": "UPPER"}', "application/json", 400),
        (b'{"reference": "../../etc:x"}', "application/json", 400),
        (b'{"reference": "a/b:c", "force": "yes"}', "application/json", 400),
        (b'{"reference": "a/b:c", "then": 1}', "application/json", 400),
        (b'{"reference": "a/b@sha256:' + b"a" * 64 + b'"}', "application/json", 400),
        (b'"' + b"x" * 20_000 + b'"', "application/json", 413),
    ],
)
def test_a_request_that_makes_no_sense_asks_for_nothing(
    web: WebApp, body: bytes, kind: str, code: int
) -> None:
    answer = web.client.post(
        "/api/v1/images", data=body, content_type=kind, headers=OPERATOR
    )
    assert answer.status_code == code
    assert answer.get_json()["error"]
    assert web.driver.ledger.images().total == 0


def test_a_session_needs_the_csrf_token_of_its_page_to_ask(web: WebApp) -> None:
    client = web.client
    log_in(client)
    asked = {"reference": REFERENCE}
    assert client.post("/api/v1/images", json=asked).status_code == 403
    headers = {"X-CSRF-Token": csrf_token(client.get("/"))}
    assert client.post("/api/v1/images", json=asked, headers=headers).status_code == 202


def test_what_is_not_there_is_not_found_in_json(web: WebApp) -> None:
    answer = web.client.get("/api/v2/things")
    assert answer.status_code == 404
    assert answer.get_json()["error"]


@pytest.mark.slow
def test_without_redis_the_answer_is_to_come_again(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as server,
        open_web_app(server, tmp_path) as web,
    ):
        server.kill()
        answer = web.client.get("/api/v1/images")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "127.0.0.1" not in answer.get_json()["error"]
