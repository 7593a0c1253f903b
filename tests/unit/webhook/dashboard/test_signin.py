"""The form that a token is typed into: who is let in, and who is not even read."""

from tests.support.harness.web_app import TOKEN, WebApp, csrf_token, log_in


def test_a_right_token_opens_a_session_and_logging_out_ends_it(web: WebApp) -> None:
    client = web.client
    assert client.get("/deliveries").status_code == 302
    answer = log_in(client)
    assert (answer.status_code, answer.location) == (303, "/")
    page = client.get("/deliveries")
    assert page.status_code == 200
    client.post("/logout", data={"csrf_token": csrf_token(page)})
    assert client.get("/deliveries").status_code == 302


def test_a_wrong_token_is_told_so_and_gets_no_session(web: WebApp) -> None:
    client = web.client
    answer = log_in(client, "wrong")
    assert answer.status_code == 401
    assert "not the operator" in answer.text
    assert client.get_cookie("cvmfs_webhook_session") is None


def test_a_form_without_its_csrf_token_does_nothing(web: WebApp) -> None:
    client = web.client
    client.get("/login")
    assert client.post("/login", data={"token": TOKEN}).status_code == 403
    form = {"token": TOKEN, "csrf_token": "0" * 64}
    assert client.post("/login", data=form).status_code == 403
    log_in(client)
    assert client.post("/logout").status_code == 403
    assert client.get("/deliveries").status_code == 200


def test_a_csrf_token_of_another_browser_is_worth_nothing(web: WebApp) -> None:
    other = csrf_token(web.client.get("/login"))
    client = web.client
    client.get("/login")
    form = {"token": TOKEN, "csrf_token": other}
    assert client.post("/login", data=form).status_code == 403


def test_a_long_or_multipart_form_is_not_parsed(web: WebApp) -> None:
    client = web.client
    proof = csrf_token(client.get("/login"))
    form = {"csrf_token": proof, "token": "x" * 10_000}
    assert client.post("/login", data=form).status_code == 413
    form = {"csrf_token": proof, "token": TOKEN}
    answer = client.post("/login", data=form, content_type="multipart/form-data")
    assert answer.status_code == 403


def test_after_login_one_is_back_where_one_wanted_to_go(web: WebApp) -> None:
    client = web.client
    answer = client.get("/deliveries?x=1")
    assert answer.location == "/login?next=/deliveries?x%3D1"
    assert log_in(client, next="/deliveries?x=1").location == "/deliveries?x=1"
    answer = log_in(web.client, next="https://evil.example/")
    assert answer.location == "/"


def test_who_is_in_already_is_sent_on_and_sees_no_form(web: WebApp) -> None:
    client = web.client
    log_in(client)
    answer = client.get("/login?next=/deliveries")
    assert (answer.status_code, answer.location) == (302, "/deliveries")
