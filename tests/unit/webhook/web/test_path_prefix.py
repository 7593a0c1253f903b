"""A receiver below a path, behind a proxy that keeps the path or takes it off."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    FQRN,
    OPERATOR,
    TOKEN,
    WebApp,
    csrf_token,
    open_web_app,
)
from webhook.machine.setup import setup_lines
from webhook.web.path_prefix import PathPrefix
from workers.config import Config, RepositoryConfig

PREFIX = "/apps/images"
REFERENCE = "registry.example.org/team/web:1"
# Not those in rq-dashboard's templates for its own scripts.
LINK = re.compile(r'(?:href|src|action|data-poll)="([^"#<]+)"')


@pytest.fixture
def web(redis_server: RedisServer, tmp_path: Path) -> Iterator[WebApp]:
    url = f"http://hub.example.org{PREFIX}"
    with open_web_app(redis_server, tmp_path, public_url=url) as made:
        yield made


class Browser:
    """One that is behind a proxy, and takes cookies as browsers do."""

    def __init__(self, web: WebApp, *, strips: bool) -> None:
        self.client: FlaskClient = web.app.test_client(use_cookies=False)
        self.strips = strips
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, method: str = "GET", **more: Any) -> TestResponse:
        """Ask for a path as it stands in a link; any other is not ours."""
        assert f"{path}/".startswith(f"{PREFIX}/"), path
        sent = path.removeprefix(PREFIX) or "/" if self.strips else path
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies} | more.pop("headers", {})
        answer = self.client.open(sent, method=method, headers=headers, **more)
        for cookie in answer.headers.getlist("Set-Cookie"):
            assert f"Path={PREFIX}" in cookie.split("; ")
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


@pytest.fixture(params=["stripping", "keeping"])
def browser(web: WebApp, request: pytest.FixtureRequest) -> Browser:
    return Browser(web, strips=request.param == "stripping")


def test_every_link_of_every_page_leads_below_the_path(
    web: WebApp, browser: Browser
) -> None:
    asked = browser.ask(
        f"{PREFIX}/api/v1/images",
        "POST",
        json={"reference": REFERENCE},
        headers=OPERATOR,
    )
    assert asked.status_code == 202
    found = {f"{PREFIX}/"}
    visited: dict[str, int] = {}
    while new := found - visited.keys():
        for path in new:
            with browser.ask(path, headers=OPERATOR) as answer:
                visited[path] = answer.status_code
                if answer.location:
                    assert urlsplit(answer.location).path.startswith(PREFIX)
                if answer.mimetype == "text/html":
                    links = LINK.findall(answer.get_data(as_text=True))
                    found |= {one for one in links if not urlsplit(one).netloc}
    assert f"{PREFIX}/images/{REFERENCE}" in visited
    assert f"{PREFIX}/deliveries" in visited
    assert f"{PREFIX}/queue/read-only.css" in visited
    # A form's own address, and one that lacks its slash, are no pages.
    assert set(visited.values()) <= {200, 308, 405}, visited
    page = browser.ask(f"{PREFIX}/images/{REFERENCE}", headers=OPERATOR).text
    public = f"http://hub.example.org{PREFIX}"
    assert f"{public}/badge/{REFERENCE}.svg" in page
    assert f"{public}{PREFIX}" not in page


def test_the_operator_logs_in_looks_asks_and_logs_out(browser: Browser) -> None:
    sent_off = browser.ask(f"{PREFIX}/deliveries")
    assert sent_off.location == f"{PREFIX}/login?next={PREFIX}/deliveries"
    form = {"csrf_token": csrf_token(browser.ask(sent_off.location))}
    form |= {"token": TOKEN, "next": f"{PREFIX}/deliveries"}
    opened = browser.ask(f"{PREFIX}/login", "POST", data=form)
    assert (opened.status_code, opened.location) == (303, f"{PREFIX}/deliveries")
    page = browser.ask(opened.location)
    assert page.status_code == 200
    proof = {"csrf_token": csrf_token(page)}
    here = f"{PREFIX}/images/{REFERENCE}"
    asked = browser.ask(here, "POST", data=proof)
    assert (asked.status_code, asked.location) == (303, here)
    left = browser.ask(f"{PREFIX}/logout", "POST", data=proof)
    assert (left.status_code, left.location) == (303, f"{PREFIX}/")
    assert browser.ask(f"{PREFIX}/deliveries").status_code == 302


def test_hooks_files_and_probes_are_found(
    web: WebApp, browser: Browser, tmp_path: Path
) -> None:
    body = {"push_data": {"tag": "1"}, "repository": {"repo_name": "acme/web"}}
    for path in (f"{PREFIX}/hooks/hub/s3cret", f"{PREFIX}/hooks/hub/s3cret/"):
        assert browser.ask(path, "POST", json=body).status_code == 202
    (tmp_path / "cvmfs").mkdir()
    (tmp_path / "cvmfs" / ".cvmfspublished").write_bytes(b"manifest")
    at = f"{PREFIX}/cvmfs/{FQRN}/.cvmfspublished"
    with browser.ask(at) as file:
        assert file.data == b"manifest"
    assert browser.ask(f"{PREFIX}/healthz").status_code == 200
    lost = browser.ask(f"{PREFIX}/nothing")
    assert lost.status_code == 404
    assert f'href="{PREFIX}/"' in lost.text


def test_what_is_to_be_pasted_has_the_path(tmp_path: Path) -> None:
    config = Config(
        public_url=f"https://hub.example.org{PREFIX}",
        repositories={FQRN: RepositoryConfig(FQRN, tmp_path.as_uri())},
    )
    told = "\n".join(setup_lines(config))
    assert f"CVMFS_SERVER_URL=https://hub.example.org{PREFIX}/cvmfs/@fqrn@" in told


def test_over_https_cookies_are_for_the_path_and_never_in_clear(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = f"https://hub.example.org{PREFIX}"
    with open_web_app(redis_server, tmp_path, public_url=url) as web:
        answer = Browser(web, strips=True).ask(f"{PREFIX}/login")
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Secure-cvmfs_webhook_form=")
    assert {"Secure", f"Path={PREFIX}"} <= set(cookie.split("; "))


@pytest.mark.parametrize(
    ("prefix", "path", "below"),
    [
        ("", "//hooks/x", "//hooks/x"),
        ("/a", "/a/hooks/x", "/hooks/x"),
        ("/a", "//a//hooks/x", "/hooks/x"),
        ("/a", "/hooks/a", "/hooks/a"),
        ("/a", "/ab/hooks", "/ab/hooks"),
        ("/a", "/a", "/"),
        ("/a", "/a/", "/"),
        ("/a", "/a/b", "/a/b"),
        # Called like a route of ours.
        ("/hooks", "/hooks/x", "/hooks/x"),
        ("/hooks", "/hooks/hooks/x", "/hooks/x"),
        ("/%C3%A9t%C3%A9", "/été/hooks/x", "/hooks/x"),
    ],
)
def test_a_request_is_for_the_route_below_the_path_if_there_is_one(
    prefix: str, path: str, below: str
) -> None:
    made = PathPrefix(f"https://h{prefix}")
    assert made.below(path, {"", "hooks"}) == below
    assert made.origin == "https://h"


def test_a_path_beyond_ascii_is_found_and_linked(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = "http://h.example.org/%C3%A9t%C3%A9"
    with open_web_app(redis_server, tmp_path, public_url=url) as web:
        page = web.client.get("/%C3%A9t%C3%A9/login")
    assert page.status_code == 200
    assert 'href="/été/"' in page.text
