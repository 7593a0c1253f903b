import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import FQRN, OPERATOR, TOKEN, Site, site_on
from workers.ledger import Outcome, Progress, State

IMAGE = f"/api/v1/images/{REFERENCE}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def site(server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    with site_on(server, tmp_path) as made:
        yield made


def test_a_live_image_says_what_is_live_where_and_when_everybody_sees_it(
    site: Site,
) -> None:
    site.bench.clock.time = 1_800_000_000
    site.bench.make_live(D1)
    image = site.client.get(IMAGE).get_json()
    assert image["reference"] == REFERENCE
    assert image["state"] == "live"
    assert image["digest"] == image["live_digest"] == D1
    assert image["revision"] == 1
    assert image["since"] == "2027-01-15T08:00:00Z"
    # The repository's 60 s and the proxies' minute.
    assert image["visible_by"] == "2027-01-15T08:02:00Z"
    assert image["path"] == f"/cvmfs/{FQRN}/{REFERENCE}"
    assert image["reason"] is None
    assert image["progress"] is None
    assert image["last_run"]["outcome"] == "published"
    assert image["policy"]["allowed"] is True
    assert [run["outcome"] for run in image["runs"]] == ["published"]


def test_a_running_image_says_how_far_it_is(site: Site) -> None:
    site.bench.make_live(D1)
    site.bench.push(D2)
    lease = site.bench.begin()
    progress = Progress(1, 4, 100, 1000)
    site.bench.ledger.stage(lease, State.FETCHING, digest=D2, progress=progress)
    image = site.client.get(IMAGE).get_json()
    assert image["state"] == "fetching"
    assert (image["digest"], image["live_digest"]) == (D2, D1)
    assert image["visible_by"] is None
    assert image["running"] is True
    assert image["progress"] == {
        "layers_done": 1,
        "layers_total": 4,
        "bytes_done": 100,
        "bytes_total": 1000,
    }


def test_a_failed_image_says_why_and_when_it_is_tried_again(site: Site) -> None:
    site.bench.push(D1)
    site.bench.ledger.finish(
        site.bench.begin(),
        Outcome.FAILED,
        reason="the registry answers 503",
        next_try=site.bench.clock() + 60,
    )
    image = site.client.get(IMAGE).get_json()
    assert (image["state"], image["reason"]) == ("failed", "the registry answers 503")
    assert image["next_try"] == "2027-01-15T08:01:00Z"


def test_the_secrets_of_a_run_and_who_pushed_are_nobodys_business(site: Site) -> None:
    site.bench.push(D1)
    lease = site.bench.begin(worker="machine-7.internal")
    for path in (IMAGE, "/api/v1/images"):
        text = site.client.get(path).text
        assert lease.token not in text
        assert "machine-7" not in text
        assert "ana" not in json.loads(text).values()
        assert '"ana"' not in text


def test_a_name_may_be_written_as_people_write_it(site: Site) -> None:
    site.bench.make_live(D1, "docker.io/library/alpine:latest")
    assert site.client.get("/api/v1/images/alpine").get_json()["state"] == "live"


def test_an_image_that_nobody_pushed_is_not_found_but_judged(site: Site) -> None:
    answer = site.client.get("/api/v1/images/docker.io/unknownuser/miner:latest")
    assert answer.status_code == 404
    assert "nobody has pushed" in answer.get_json()["error"]
    assert answer.get_json()["policy"]["allowed"] is False
    assert "not a namespace" in answer.get_json()["policy"]["reason"]


@pytest.mark.parametrize("name", ["UPPER", "../../etc:x", "a//b", "x:", "a%00b", "x@y"])
def test_what_is_no_name_is_refused_in_one_line(site: Site, name: str) -> None:
    answer = site.client.get(f"/api/v1/images/docker.io/{name}")
    assert answer.status_code in {400, 404}
    assert "\n" not in answer.get_json()["error"]


def test_a_list_is_paged_and_leads_to_its_next_page(site: Site) -> None:
    names = [f"registry.example.org/a/b:{number}" for number in range(5)]
    for name in names:
        site.bench.push(D1, name)
        site.bench.clock.passes(1)
    client = site.client
    seen: list[str] = []
    path: str | None = "/api/v1/images?limit=2&q=a/b"
    while path:
        page = client.get(path).get_json()
        assert page["total"] == 5
        seen += [image["reference"] for image in page["images"]]
        path = page["next"]
    assert seen == names[::-1]


def test_a_list_can_be_narrowed_to_a_state_and_a_part_of_a_name(site: Site) -> None:
    site.bench.make_live(D1, "registry.example.org/atlas/one:v1")
    site.bench.push(D1, "registry.example.org/atlas/two:v1")
    site.bench.push(D1, "registry.example.org/cms/one:v1")
    client = site.client

    def names(query: str) -> list[str]:
        page = client.get(f"/api/v1/images?{query}").get_json()
        return [image["reference"].partition("/")[2] for image in page["images"]]

    assert names("state=live") == ["atlas/one:v1"]
    assert sorted(names("q=one")) == ["atlas/one:v1", "cms/one:v1"]
    assert names("q=one&state=queued") == ["cms/one:v1"]
    counts = client.get("/api/v1/images").get_json()["counts"]
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
def test_a_question_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    answer = site.client.get(f"/api/v1/images?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]


def test_who_has_the_newest_answer_is_told_so_without_a_body(site: Site) -> None:
    site.bench.make_live(D1)
    client = site.client
    known = {}
    for path in (IMAGE, "/api/v1/images"):
        first = client.get(path)
        assert first.headers["Cache-Control"] == "no-cache"
        known[path] = {"If-None-Match": first.headers["ETag"]}
        again = client.get(path, headers=known[path])
        assert (again.status_code, again.data) == (304, b"")
    site.bench.push(D2)
    for path, tag in known.items():
        assert client.get(path, headers=tag).status_code == 200


def test_deliveries_and_events_are_the_operators(site: Site) -> None:
    for path in ("/api/v1/deliveries", "/api/v1/events"):
        assert site.client.get(path).status_code == 401
        answer = site.client.get(path, headers=OPERATOR)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_delivery_says_what_became_of_each_of_its_events(site: Site) -> None:
    site.bench.push(D1, unique_id="e1")
    site.bench.refuse("docker.io/unknownuser/miner:latest", "no rule")
    answer = site.client.get("/api/v1/deliveries", headers=OPERATOR).get_json()
    refused, queued = answer["deliveries"]
    assert refused["events"][0]["verdict"] == "refused"
    assert refused["events"][0]["reason"] == "no rule"
    assert queued["source"] == "hub"
    assert queued["sender"] == "192.0.2.1"
    assert queued["time"] == "2027-01-15T08:00:00Z"
    assert queued["events"][0]["digest"] == D1
    assert queued["events"][0]["actor"] == "ana"


def test_events_are_followed_by_a_cursor(site: Site) -> None:
    client = site.client
    site.bench.push(D1)
    first = client.get("/api/v1/events", headers=OPERATOR).get_json()
    assert [event["state"] for event in first["events"]] == ["queued"]
    path = f"/api/v1/events?after={first['cursor']}"
    nothing = client.get(path, headers=OPERATOR).get_json()
    assert nothing == {"events": [], "cursor": first["cursor"]}
    site.bench.begin()
    new = client.get(path, headers=OPERATOR).get_json()["events"]
    assert [event["state"] for event in new] == ["resolving"]


def test_a_cursor_that_is_none_is_refused(site: Site) -> None:
    path = "/api/v1/events?after=yesterday"
    answer = site.client.get(path, headers=OPERATOR)
    assert answer.status_code == 400
    assert "after" in answer.get_json()["error"]


def test_the_operator_asks_for_an_image_and_it_is_queued(site: Site) -> None:
    answer = site.client.post(
        "/api/v1/images", json={"reference": REFERENCE}, headers=OPERATOR
    )
    assert answer.status_code == 202
    assert answer.get_json()["reference"] == REFERENCE
    assert answer.get_json()["decision"] == "queued"
    assert site.bench.image().state is State.QUEUED
    assert site.queue.depth() == 1


def test_what_the_policy_refuses_is_refused_to_the_operator_too(site: Site) -> None:
    name = "docker.io/unknownuser/miner:latest"
    answer = site.client.post(
        "/api/v1/images", json={"reference": name}, headers=OPERATOR
    )
    assert answer.status_code == 403
    assert answer.get_json()["decision"] == "refused"
    assert "not a namespace" in answer.get_json()["error"]
    assert site.bench.ledger.image(name) is None


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
    site: Site, body: bytes, kind: str, code: int
) -> None:
    answer = site.client.post(
        "/api/v1/images", data=body, content_type=kind, headers=OPERATOR
    )
    assert answer.status_code == code
    assert answer.get_json()["error"]
    assert site.bench.ledger.images().total == 0


def test_a_session_needs_the_csrf_token_of_its_page_to_ask(site: Site) -> None:
    client = site.client
    page = client.get("/login").text
    proof = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    client.post("/login", data={"csrf_token": proof, "token": TOKEN})
    asked = {"reference": REFERENCE}
    assert client.post("/api/v1/images", json=asked).status_code == 403
    page = client.get("/").text
    proof = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    headers = {"X-CSRF-Token": proof}
    assert client.post("/api/v1/images", json=asked, headers=headers).status_code == 202


def test_what_is_not_there_is_not_found_in_json(site: Site) -> None:
    answer = site.client.get("/api/v2/things")
    assert answer.status_code == 404
    assert answer.get_json()["error"]


def test_without_redis_the_answer_is_to_come_again(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as server,
        site_on(server, tmp_path) as site,
    ):
        server.kill()
        answer = site.client.get("/api/v1/images")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "127.0.0.1" not in answer.get_json()["error"]


def badge_words(site: Site, reference: str) -> tuple[str, str]:
    answer = site.client.get(f"/badge/{reference}.svg")
    assert answer.status_code == 200
    assert answer.mimetype == "image/svg+xml"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    svg = ET.fromstring(answer.text)
    title = svg.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    return svg.attrib["aria-label"], title.text or ""


def test_a_badge_says_the_state_to_the_eye_and_the_ear(site: Site) -> None:
    assert badge_words(site, REFERENCE) == ("CVMFS: not seen",) * 2
    site.bench.push(D1)
    assert badge_words(site, REFERENCE) == ("CVMFS: queued",) * 2
    site.bench.publish(site.bench.begin())
    assert badge_words(site, REFERENCE) == ("CVMFS: live",) * 2


def test_a_badge_of_no_name_is_refused(site: Site) -> None:
    assert site.client.get("/badge/UPPER/<script>.svg").status_code == 400


def test_every_answer_keeps_browsers_from_guessing_and_framing(site: Site) -> None:
    for path in ("/api/v1/images", "/", "/login", f"/badge/{REFERENCE}.svg"):
        headers = site.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
