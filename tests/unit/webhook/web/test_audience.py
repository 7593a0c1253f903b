"""What strangers learn, from every route there is: nothing of what is not theirs."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask, jsonify

from tests.support.harness.ledger import D1, LedgerDriver
from tests.support.harness.routes import paths
from tests.support.harness.web_app import OPERATOR, WebApp
from webhook.web import audience
from webhook.web.audience import NOT_FOR_ALL, PolicyMemory
from webhook.web.login import FORM_COOKIE_LENGTH
from workers.ledger import Outcome, RunResult, State
from workers.policy import PolicyFile

POLICY = """\
version: 1
rules:
  - deny: registry.example.org/team/deniedword
  - allow: registry.example.org/**
"""
# Of one length, so that an answer about one of them has the length of all.
HIDDEN = ("privateone", "waitingone", "runningone", "deniedword", "forbidden1")
UNKNOWN = "neverheard"
SHOWN = ("livelylive", "removedone", "publicfail", "wentaway01")
SECRET_TEXTS = ("token.internal.example", "otherproject")
QUERIES = (
    "",
    "?q=team",
    "?q=one&limit=500",
    "?state=queued",
    "?state=failed&page=1",
    "?state=refused",
    "?limit=1&offset=1",
    "?after=0-0",
    "?page=2",
    "?reference=registry.example.org/team/x:v1",
)


def named(word: str) -> str:
    return f"registry.example.org/team/{word}:v1"


def fill_with_shown(driver: LedgerDriver) -> None:
    """Have images that everybody may see, one with a reason that nobody may."""
    live, removed, failed, away = (named(word) for word in SHOWN)
    driver.make_live(D1, live)
    driver.make_live(D1, removed)
    driver.remove(removed)
    secret = f"{SECRET_TEXTS[0]} answered 401 (no access to {SECRET_TEXTS[1]})"
    driver.fail(failed, secret, is_reason_open=False)
    # Refused as private now; its name has been in CVMFS.
    driver.make_live(D1, away)
    driver.remove(away)
    driver.fail(away, f"see {SECRET_TEXTS[1]}", is_public=False, is_reason_open=False)


def fill_with_hidden(driver: LedgerDriver) -> None:
    """Have images that no stranger may learn of."""
    private, waiting, running, denied, forbidden = (named(word) for word in HIDDEN)
    driver.push(D1, private)
    result = RunResult(
        Outcome.REFUSED, D1, "only we can pull it", is_public=False, is_reason_open=True
    )
    driver.ledger.finish(driver.begin(reference=private), result)
    driver.fail(denied)  # public, and allowed once
    driver.refuse(forbidden)
    driver.push(D1, running)
    driver.ledger.stage(driver.begin(reference=running), State.FETCHING)
    driver.push(D1, waiting)


def answers(
    app: Flask, word: str, queries: tuple[str, ...] = ("",)
) -> Iterator[tuple[str, str]]:
    """Yield what a stranger asks about one image, and all of each answer, as text.

    What the stranger typed, and may so be told again, is ``NAME`` in it.
    """
    reference = named(word)
    client = app.test_client()
    client.set_cookie("cvmfs_webhook_form", "f" * FORM_COOKIE_LENGTH)  # not a new one
    for method, path in sorted(paths(app, reference)):
        for query in queries if method == "GET" else ("",):
            for each in ("GET", "HEAD", "OPTIONS") if method == "GET" else (method,):
                with client.open(path + query, method=each) as answer:
                    body = answer.data.decode(errors="replace")
                    del answer.headers["Date"]
                    text = f"{answer.status}\n{answer.headers}\n{body}"
                asked = f"{each} {path}{query}".replace(word, "NAME")
                text = re.sub(r"'nonce-[^']+'", "", text)
                for typed in (reference, quote(reference, safe="")):
                    text = text.replace(typed, typed.replace(word, "NAME"))
                yield asked, text


def leaks(
    app: Flask, words: tuple[str, ...], queries: tuple[str, ...] = ("",)
) -> set[str]:
    """Return what a stranger has to ask to learn one of some words."""
    return {
        asked
        for asked, text in answers(app, UNKNOWN, queries)
        if any(word in text for word in words)
    }


@pytest.fixture
def filled(web: WebApp) -> WebApp:
    web.policy_path.write_text(POLICY)
    fill_with_shown(web.driver)
    fill_with_hidden(web.driver)
    return web


@pytest.mark.slow
def test_no_route_tells_a_stranger_what_is_not_theirs(filled: WebApp) -> None:
    assert not leaks(filled.app, HIDDEN + SECRET_TEXTS, QUERIES)
    assert leaks(filled.app, SHOWN) >= {"GET /", "GET /api/v1/images"}


def test_a_route_that_somebody_adds_and_that_tells_is_found(filled: WebApp) -> None:
    def feed() -> object:
        found = filled.ledger.images(state=State.QUEUED).images
        return jsonify([image.reference for image in found])

    filled.app.add_url_rule("/feed.json", view_func=feed)  # type: ignore[arg-type]
    assert leaks(filled.app, HIDDEN) == {"GET /feed.json"}


@pytest.mark.slow
def test_all_that_is_not_shown_has_one_and_the_same_answer(filled: WebApp) -> None:
    expected = dict(answers(filled.app, UNKNOWN))
    assert any("404 NOT FOUND" in text for text in expected.values())
    for word in HIDDEN:
        for asked, text in answers(filled.app, word):
            assert text == expected[asked], (word, asked)


def test_what_is_not_shown_changes_no_byte_of_the_lists(web: WebApp) -> None:
    web.policy_path.write_text(POLICY)
    fill_with_shown(web.driver)

    def lists() -> list[tuple[str, str, bytes]]:
        found = []
        for path in ("/", "/api/v1/images"):
            for query in QUERIES:
                answer = web.client.get(path + query)
                del answer.headers["Date"]
                found.append((path + query, str(answer.headers), answer.data))
        return found

    before = lists()
    fill_with_hidden(web.driver)
    assert lists() == before


def test_the_operator_is_told_all(filled: WebApp) -> None:
    client = filled.client
    listed = client.get("/api/v1/images", headers=OPERATOR).get_json()
    assert listed["total"] == len(HIDDEN + SHOWN)
    for word in HIDDEN:
        page = client.get(f"/images/{named(word)}", headers=OPERATOR)
        assert page.status_code == 200
        assert "Only the operator sees this page" in page.text
    page = client.get(f"/images/{named(SHOWN[2])}", headers=OPERATOR)
    assert SECRET_TEXTS[0] in page.text
    assert "Only the operator sees" not in page.text


def test_a_badge_shows_nobody_what_strangers_may_not_see(filled: WebApp) -> None:
    path = f"/badge/{named(HIDDEN[0])}.svg"
    assert "not known" in filled.client.get(path, headers=OPERATOR).text


def test_what_the_operator_sees_is_kept_in_no_cache(filled: WebApp) -> None:
    for path in ("/", "/api/v1/images", f"/api/v1/images/{named(SHOWN[0])}"):
        answer = filled.client.get(path, headers=OPERATOR)
        assert answer.headers["Cache-Control"] == "no-store", path


def test_a_reason_that_may_name_others_is_in_words_of_ours(filled: WebApp) -> None:
    image = filled.client.get(f"/api/v1/images/{named(SHOWN[2])}").get_json()
    assert image["reason"] == NOT_FOR_ALL
    assert image["last_run"]["reason"] == NOT_FOR_ALL
    assert image["runs"][0]["reason"] == NOT_FOR_ALL
    assert image["state"] == "failed"


def test_a_name_that_no_registry_could_have_given_is_hidden(web: WebApp) -> None:
    web.driver.fail("registry.example.org/Not A Name:v1")
    assert "Not A Name" not in web.client.get("/").text
    assert "Not A Name" in web.client.get("/", headers=OPERATOR).text


def test_the_policy_is_asked_again_when_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    names = {named(word) for word in SHOWN}
    path.write_text(POLICY)
    memory = PolicyMemory(PolicyFile(path))
    assert memory.allowed(names) == names
    path.write_text(POLICY.replace("allow", "deny"))
    assert not memory.allowed(names)


def test_what_strangers_make_up_is_not_remembered_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "_MOST_REMEMBERED", 10)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    memory = PolicyMemory(PolicyFile(path))
    for number in range(30):
        memory.allowed([f"x{number}"])
        assert len(memory._known[1]) <= 11
