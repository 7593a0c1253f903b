"""Sessions and tokens: what opens one, and what ends it."""

import time
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from flask import Flask, Response
from werkzeug.test import TestResponse

from tests.support.harness.ledger import LedgerDriver
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    TOKEN,
    WebApp,
    create_web_app,
    csrf_token,
    log_in,
    open_web_app,
    write_config,
)
from webhook.web.login import Login, local_path
from workers.config import Secret
from workers.ledger import EndedSessions


def test_the_session_cookie_is_for_this_site_and_no_script(web: WebApp) -> None:
    client = web.client
    cookie = SimpleCookie(log_in(client).headers["Set-Cookie"])
    (morsel,) = cookie.values()
    assert morsel["httponly"]
    assert morsel["samesite"] == "Strict"
    assert morsel["path"] == "/"
    assert not morsel["secure"]
    left = parsedate_to_datetime(morsel["expires"]).timestamp() - time.time()
    assert 0 < left <= 86_400


def test_over_https_cookies_are_secure_and_bound_to_the_host(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with open_web_app(
        redis_server, tmp_path, public_url="https://images.example.org"
    ) as web:
        client = web.app.test_client()
        base = "https://images.example.org"
        page = client.get("/login", base_url=base)
        form = {"csrf_token": csrf_token(page), "token": TOKEN}
        answer = client.post("/login", base_url=base, data=form)
    for header in (page.headers["Set-Cookie"], answer.headers["Set-Cookie"]):
        assert header.startswith("__Host-")
        assert "Secure" in header


@pytest.fixture
def ended(driver: LedgerDriver) -> EndedSessions:
    return EndedSessions(driver.connection)


def login_with(ended: EndedSessions, *tokens: str, seconds: int = 3600) -> Login:
    secrets = [Secret(token) for token in tokens]
    return Login(secrets, https=False, ended=ended, session_seconds=seconds)


def test_a_session_ends_when_its_time_is_over(ended: EndedSessions) -> None:
    login = login_with(ended, TOKEN)
    over = login_with(ended, TOKEN, seconds=-1)
    assert _is_operator_after_login(login, login)
    assert not _is_operator_after_login(login, over)


def test_a_session_ends_when_its_token_is_taken_away_and_not_before(
    ended: EndedSessions,
) -> None:
    both = login_with(ended, "new", TOKEN)
    assert _is_operator_after_login(login_with(ended, TOKEN), both)
    assert _is_operator_after_login(both, both)
    only_new = login_with(ended, "new")
    assert not _is_operator_after_login(both, only_new)
    assert not _is_operator_after_login(login_with(ended, TOKEN), only_new)


def _is_operator_after_login(before: Login, after: Login) -> bool:
    app, later = Flask("before"), Flask("after")
    before.init_app(app)
    after.init_app(later)
    with app.test_request_context():
        before.open_session(TOKEN)
        answer = app.process_response(Response())
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    with later.test_request_context(headers={"Cookie": cookie}):
        return after.identity().is_operator


def test_logging_out_ends_the_session_for_every_copy_of_its_cookie(
    web: WebApp,
) -> None:
    client, thief = web.client, web.client
    log_in(client)
    cookie = client.get_cookie("cvmfs_webhook_session")
    assert cookie is not None
    thief.set_cookie("cvmfs_webhook_session", cookie.value)
    assert thief.get("/deliveries").status_code == 200
    proof = csrf_token(client.get("/deliveries"))
    assert client.post("/logout", data={"csrf_token": proof}).status_code == 303
    assert thief.get("/deliveries").status_code == 302
    # Another session of the same token goes on.
    log_in(client)
    assert client.get("/deliveries").status_code == 200


def test_a_new_login_ends_the_session_that_the_browser_had(web: WebApp) -> None:
    client, thief = web.client, web.client
    log_in(client)
    cookie = client.get_cookie("cvmfs_webhook_session")
    assert cookie is not None
    thief.set_cookie("cvmfs_webhook_session", cookie.value)
    form = {"csrf_token": csrf_token(client.get("/deliveries")), "token": TOKEN}
    assert client.post("/login", data=form).status_code == 303
    assert thief.get("/deliveries").status_code == 302
    assert client.get("/deliveries").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/deliveries", "/queue/", "/api/v1/deliveries", "/api/v1/events", "/metrics"],
)
def test_after_logging_out_a_kept_cookie_opens_no_route(web: WebApp, path: str) -> None:
    client, thief = web.client, web.client
    log_in(client)
    cookie = client.get_cookie("cvmfs_webhook_session")
    assert cookie is not None
    thief.set_cookie("cvmfs_webhook_session", cookie.value)
    proof = csrf_token(thief.get("/deliveries"))
    assert thief.get(path).status_code == 200
    client.post("/logout", data={"csrf_token": proof})
    assert thief.get(path).status_code in {302, 401}
    ask = {"json": {"reference": "a/b:c"}, "headers": {"X-CSRF-Token": proof}}
    assert thief.post("/api/v1/images", **ask).status_code == 401


def test_another_site_logs_nobody_out(web: WebApp) -> None:
    client = web.client
    log_in(client)
    assert client.get("/logout").status_code == 405
    assert client.post("/logout", data={"csrf_token": "x"}).status_code == 403
    assert client.get("/deliveries").status_code == 200


def test_a_forged_cookie_opens_nothing(web: WebApp) -> None:
    client = web.client
    log_in(client)
    cookie = client.get_cookie("cvmfs_webhook_session")
    assert cookie is not None
    client.set_cookie("cvmfs_webhook_session", cookie.value[:-2] + "AA")
    assert client.get("/deliveries").status_code == 302


@pytest.mark.parametrize("token", ["", "wörter", "\udc80", TOKEN[:-1], TOKEN + "x"])
def test_any_other_text_is_no_token(token: str, ended: EndedSessions) -> None:
    login = login_with(ended, TOKEN)
    with Flask(__name__).test_request_context():
        assert login.try_token(token) == 0


def test_a_bearer_token_is_enough_for_a_program(web: WebApp) -> None:
    client = web.client
    assert client.get("/api/v1/deliveries", headers=OPERATOR).status_code == 200
    lower = {"Authorization": f"bearer {TOKEN}"}
    assert client.get("/api/v1/deliveries", headers=lower).status_code == 200


def test_a_program_without_token_is_told_what_to_send(web: WebApp) -> None:
    answer = web.client.get("/api/v1/deliveries")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Bearer" in answer.get_json()["error"]


def test_without_a_token_in_the_configuration_nobody_logs_in(
    ended: EndedSessions,
) -> None:
    login = login_with(ended)
    with Flask(__name__).test_request_context(headers={"Authorization": "Bearer "}):
        assert not login.is_possible
        assert not login.identity().is_operator


def test_a_right_token_never_waits_behind_wrong_ones(web: WebApp) -> None:
    client = web.client
    for _ in range(10):
        assert log_in(client, "wrong").status_code == 401
    answer = log_in(client, "wrong")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert log_in(client).status_code == 303
    path, wrong = "/api/v1/deliveries", {"Authorization": "Bearer wrong"}
    assert web.client.get(path, headers=wrong).status_code == 429
    assert web.client.get(path, headers=OPERATOR).status_code == 200


def test_wrong_tokens_are_counted_for_the_client_behind_the_proxy(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def refused(web: WebApp, headers: list[tuple[str, str]]) -> int:
        answer = web.client.get(
            "/api/v1/deliveries",
            headers=[("Authorization", "Bearer wrong"), *headers],
            environ_base={"REMOTE_ADDR": "10.0.0.1"},
        )
        return answer.status_code

    guesser = [
        ("X-Forwarded-For", "192.0.2.66"),  # what the guesser would have us believe
        ("X-Forwarded-For", "192.0.2.7"),  # what the outer proxy saw
        ("X-Forwarded-For", "10.9.9.9"),
    ]
    more = "trusted_proxies: [10.0.0.0/8]\n"
    with create_web_app(write_config(tmp_path, redis_server, more)) as web:
        assert {refused(web, guesser) for _ in range(10)} == {401}
        assert refused(web, guesser) == 429
        assert refused(web, [("X-Forwarded-For", "192.0.2.66")]) == 401
        other = [("X-Forwarded-For", f"192.0.2.{n}, 192.0.2.7") for n in range(5)]
        assert {refused(web, [each]) for each in other} == {429}
    with create_web_app(write_config(tmp_path, redis_server)) as web:
        spoofed = [("X-Forwarded-For", f"192.0.2.{n}") for n in range(11)]
        assert [refused(web, [each]) for each in spoofed] == [401] * 10 + [429]


def test_cookies_of_a_session_over_https_are_never_sent_in_clear(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def cookies(web: WebApp, peer: str) -> list[str]:
        client = web.client
        client.environ_base = {**client.environ_base, "REMOTE_ADDR": peer}
        https = {"X-Forwarded-Proto": "https"}
        page = client.get("/login", headers=https)
        form = {"csrf_token": csrf_token(page), "token": TOKEN}
        client.set_cookie("cvmfs_webhook_form", form_cookie(page))
        answer = client.post("/login", headers=https, data=form)
        assert answer.status_code == 303
        return [page.headers["Set-Cookie"], answer.headers["Set-Cookie"]]

    def form_cookie(page: TestResponse) -> str:
        (morsel,) = SimpleCookie(page.headers["Set-Cookie"]).values()
        return morsel.value

    more = "trusted_proxies: [10.0.0.0/8]\n"
    with create_web_app(write_config(tmp_path, redis_server, more)) as web:
        assert all("Secure" in cookie for cookie in cookies(web, "10.0.0.1"))
        assert not any("Secure" in cookie for cookie in cookies(web, "192.0.2.1"))


def test_a_session_goes_on_while_its_address_has_to_wait(web: WebApp) -> None:
    client = web.client
    log_in(client)
    wrong = {"Authorization": "Bearer wrong"}
    for _ in range(11):
        client.get("/api/v1/deliveries", headers=wrong)
    assert client.get("/deliveries").status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "images/x",
        "/ü",
        "",
    ],
)
def test_after_login_nobody_is_sent_to_another_site(target: str) -> None:
    assert local_path(target, "/") == "/"


def test_the_token_is_in_no_page_and_no_log(
    web: WebApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = web.client
    pages = [log_in(client), client.get("/"), client.get("/deliveries")]
    pages.append(log_in(web.client, "wrong guess"))
    assert not any(TOKEN in page.text for page in pages)
    assert TOKEN not in caplog.text
    assert "wrong guess" not in caplog.text
