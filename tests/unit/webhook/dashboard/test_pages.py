"""The pages: what an author reads, and who may see what."""

from pathlib import Path
from urllib.parse import quote

import pytest
from jinja2 import nodes

from tests.support.harness.ledger import D1, REFERENCE
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    WebApp,
    csrf_token,
    log_in,
    open_web_app,
)

PAGE = f"/images/{REFERENCE}"


def test_the_pages_use_no_word_that_is_not_there(web: WebApp) -> None:
    """Inside an ``if``, Jinja misses a filter only when it comes to it."""
    jinja = web.app.jinja_env
    names = [name for name in jinja.list_templates() if name.startswith("dashboard/")]
    used = {
        word.name
        for name in names
        for word in jinja.parse(_source(web, name)).find_all(nodes.Filter)
    }
    assert {"size", "duration"} <= used
    assert used <= set(jinja.filters)


def _source(web: WebApp, template: str) -> str:
    loader = web.app.jinja_env.loader
    assert loader is not None
    return loader.get_source(web.app.jinja_env, template)[0]


# What the author of an image reads.


def test_the_page_says_how_large_the_live_image_is(web: WebApp) -> None:
    web.driver.make_live(D1, size=1_450_000_000)
    assert "1.4 GB in the registry" in web.client.get(PAGE).text
    assert web.client.get(f"/api/v1{PAGE}").get_json()["size"] == 1_450_000_000


def test_without_a_size_the_page_says_none(web: WebApp) -> None:
    web.driver.make_live(D1)
    assert "in the registry" not in web.client.get(PAGE).text


def test_before_the_first_push_the_page_says_what_to_do(web: WebApp) -> None:
    page = web.client.get("/").text
    assert "No image yet" in page
    assert "docker push" in page
    assert "At work" not in page


def test_a_name_leads_to_the_page_under_its_full_name(web: WebApp) -> None:
    answer = web.client.get("/images/alpine")
    assert answer.location == "/images/docker.io/library/alpine:latest"


@pytest.mark.parametrize(
    ("path", "accept", "is_page"),
    [
        ("/nowhere", "*/*", True),
        ("/hooksandmore", "*/*", True),
        ("/hooks", "text/html", False),
        ("/cvmfs", "*/*", False),
        ("/cvmfs/", "text/html,*/*;q=0.8", True),
        ("/badge/x", "text/html", True),
    ],
)
def test_where_nothing_is_people_read_a_page_and_programs_json(
    web: WebApp, path: str, accept: str, *, is_page: bool
) -> None:
    answer = web.client.get(path, headers={"Accept": accept})
    assert answer.status_code == 404
    if is_page:
        assert "There is nothing here" in answer.text
        assert '<link rel="stylesheet"' in answer.text
    else:
        assert answer.get_json() == {"error": "not found"}


def test_a_method_that_is_not_for_an_address_is_told_with_those_that_are(
    web: WebApp,
) -> None:
    page = web.client.delete("/")
    assert (page.status_code, page.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert "DELETE is not for this address; it takes GET" in page.text
    answer = web.client.get("/hooks/hub")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.get_json() == {"error": "GET is not for this address; it takes POST"}


@pytest.mark.parametrize("name", ["UPPER", "a:b:c", "x@sha256:1", "<script>", "a%0ab"])
def test_what_is_no_name_has_no_page(web: WebApp, name: str) -> None:
    answer = web.client.get(f"/images/docker.io/{name}")
    assert answer.status_code in {400, 404}
    assert "<script>" not in answer.text


def test_the_list_counts_states_and_can_be_narrowed(web: WebApp) -> None:
    web.driver.make_live(D1, "registry.example.org/a/live:v1")
    web.driver.fail("registry.example.org/a/broken:v1")
    client = web.client
    page = client.get("/?state=failed").text
    assert "broken" in page
    assert "/a/live" not in page
    found = client.get("/?q=a/live").text
    assert "live" in found
    assert "broken" not in found
    nothing = client.get("/?q=registry.example.org/a/other:v1").text
    assert "No image matches" in nothing
    assert "/images/registry.example.org/a/other:v1" in nothing


def test_a_long_list_is_paged(web: WebApp) -> None:
    for number in range(120):
        web.driver.refuse(f"quay.io/a/b:{number}")
        web.driver.clock.passes(1)

    def page(path: str) -> str:
        answer = web.client.get(path, headers=OPERATOR)
        assert answer.status_code == 200
        return answer.text

    assert "page 1 of 3" in page("/")
    assert ":119<" in page("/")
    assert ":0<" in page("/?page=3")
    assert page("/?page=99")
    for nonsense in ("0", "-1", "x", "²", "9" * 30):
        assert "page 1 of 3" in page(f"/?page={nonsense}")


def test_what_waits_longest_is_named_first(web: WebApp) -> None:
    for number in range(12):
        web.driver.push(D1, f"registry.example.org/a/b:{number}")
        web.driver.clock.passes(60)
    page = web.client.get("/", headers=OPERATOR).text
    work = page[page.index("At work now") : page.index('data-part="images"')]
    assert "for <time" in work
    assert "12 min" in work
    assert work.index('b</span><wbr><span class="tag">:0<') < work.index(":1<")
    assert "4 more" in work


def test_all_that_comes_from_outside_is_escaped(web: WebApp) -> None:
    hostile = "<script>alert(1)</script>"
    web.driver.fail(REFERENCE, hostile)
    web.problems.append(hostile)
    client = web.client
    for path in ("/", PAGE, f"/?q={quote(hostile)}", f"/login?next=/{quote(hostile)}"):
        page = client.get(path).text
        assert hostile not in page
        assert page.count("<script") == 1, path


# Who may see what.


def test_anybody_sees_images_and_only_the_operator_deliveries(web: WebApp) -> None:
    web.driver.push(D1)
    client = web.client
    for path in ("/", PAGE):
        page = client.get(path).text
        assert "192.0.2.1" not in page
        assert "Deliveries" not in page
    assert client.get("/deliveries").status_code == 302
    page = client.get("/deliveries", headers=OPERATOR).text
    assert "192.0.2.1" in page
    assert "rule 1 allows it" in page


def test_what_is_wrong_is_told_to_all_and_the_details_to_the_operator(
    web: WebApp,
) -> None:
    web.client.get("/")
    web.problems.append("Redis may forget what it accepts")
    web.policy_path.write_text("version: 1\nrules: [{permit: some/name}]\n")
    page = web.client.get("/").text
    assert "Redis may forget" in page
    assert "policy file is broken, so the last good one is in force" in page
    assert "permit" not in page
    assert "permit" in web.client.get("/", headers=OPERATOR).text


def test_only_the_operators_own_form_asks_the_registry_again(web: WebApp) -> None:
    web.driver.make_live(D1)
    client = web.client
    assert client.post(PAGE).status_code == 401
    log_in(client)
    assert client.post(PAGE).status_code == 403
    assert web.queue.depth() == 0
    form = {"csrf_token": csrf_token(client.get(PAGE))}
    answer = client.post(PAGE, data=form)
    assert (answer.status_code, answer.location) == (303, PAGE)
    assert web.queue.depth() == 1


def test_pages_are_never_kept_and_their_files_for_long(web: WebApp) -> None:
    client = web.client
    page = client.get("/")
    assert page.headers["Cache-Control"] == "no-store"
    style = page.text.partition('stylesheet" href="')[2].partition('"')[0]
    with client.get(style) as answer:
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.slow
def test_without_redis_a_page_says_so(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as server,
        open_web_app(server, tmp_path) as web,
    ):
        server.kill()
        answer = web.client.get("/")
        assert answer.status_code == 503
        assert "does not answer" in answer.text
        assert "127.0.0.1" not in answer.text
