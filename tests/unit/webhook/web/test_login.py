"""Sessions and tokens: what opens one, and what ends it."""

from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from flask import Flask, Response

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    TOKEN,
    WebApp,
    csrf_token,
    log_in,
    open_web_app,
)
from webhook.web.login import Login, local_path
from workers.config import Secret


def test_the_session_cookie_is_for_this_site_and_no_script(web: WebApp) -> None:
    client = web.client
    cookie = SimpleCookie(log_in(client).headers["Set-Cookie"])
    (morsel,) = cookie.values()
    assert morsel["httponly"]
    assert morsel["samesite"] == "Strict"
    assert morsel["path"] == "/"
    assert not morsel["secure"]
    assert 0 < int(morsel["max-age"]) <= 86_400


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


def test_a_session_ends_when_its_time_is_over() -> None:
    login = Login([Secret(TOKEN)], https=False, session_seconds=-1)
    assert not _is_operator_after_login(login, login)


def test_a_session_ends_when_its_token_is_taken_away_and_not_before() -> None:
    both = Login([Secret("new"), Secret(TOKEN)], https=False)
    assert _is_operator_after_login(Login([Secret(TOKEN)], https=False), both)
    only_new = Login([Secret("new")], https=False)
    assert not _is_operator_after_login(both, only_new)


def _is_operator_after_login(before: Login, after: Login) -> bool:
    app = Flask(__name__)
    with app.test_request_context():
        answer = Response()
        before.open_session(answer, TOKEN)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    with app.test_request_context(headers={"Cookie": cookie}):
        return after.identity().is_operator


def test_a_forged_cookie_opens_nothing(web: WebApp) -> None:
    client = web.client
    log_in(client)
    cookie = client.get_cookie("cvmfs_webhook_session")
    assert cookie is not None
    client.set_cookie("cvmfs_webhook_session", cookie.value[:-2] + "AA")
    assert client.get("/deliveries").status_code == 302


@pytest.mark.parametrize("token", ["", "wörter", "\udc80", TOKEN[:-1], TOKEN + "x"])
def test_any_other_text_is_no_token(token: str) -> None:
    login = Login([Secret(TOKEN)], https=False)
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


def test_without_a_token_in_the_configuration_nobody_logs_in() -> None:
    login = Login([], https=False)
    with Flask(__name__).test_request_context(headers={"Authorization": "Bearer "}):
        assert not login.is_possible
        assert not login.identity().is_operator


def test_after_too_many_wrong_tokens_even_the_right_one_has_to_wait(
    web: WebApp,
) -> None:
    client = web.client
    for _ in range(10):
        assert log_in(client, "wrong").status_code == 401
    answer = log_in(client)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    answer = client.get("/api/v1/deliveries", headers=OPERATOR)
    assert answer.status_code == 429
    elsewhere = {"REMOTE_ADDR": "192.0.2.8"}
    answer = client.get("/api/v1/deliveries", headers=OPERATOR, environ_base=elsewhere)
    assert answer.status_code == 200


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
    assert local_path(target) == "/"


def test_the_token_is_in_no_page_and_no_log(
    web: WebApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = web.client
    pages = [log_in(client), client.get("/"), client.get("/deliveries")]
    pages.append(log_in(web.client, "wrong guess"))
    assert not any(TOKEN in page.text for page in pages)
    assert TOKEN not in caplog.text
    assert "wrong guess" not in caplog.text
