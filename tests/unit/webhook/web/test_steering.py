"""The operator tries again over HTTP what failed; for the rest see test_requests."""

import pytest

from tests.support.harness.ledger import REFERENCE
from tests.support.harness.web_app import OPERATOR, WebApp
from workers.ledger import State

RETRY = f"/api/v1/images/{REFERENCE}/retry"


def test_the_operator_retries_what_failed_and_nobody_else(web: WebApp) -> None:
    web.driver.fail()
    for path, body in ((RETRY, None), ("/api/v1/retry", {"failed": True})):
        assert web.client.post(path, json=body).status_code == 401
    assert web.driver.image().state is State.FAILED
    answer = web.client.post(RETRY, headers=OPERATOR)
    assert (answer.status_code, answer.get_json()["decision"]) == (202, "queued")
    assert web.driver.image().state is State.QUEUED
    again = web.client.post(RETRY, headers=OPERATOR)
    assert (again.status_code, again.get_json()["decision"]) == (200, "ignored")
    assert "nothing to retry" in again.get_json()["reason"]


def test_what_the_policy_refuses_is_not_retried(web: WebApp) -> None:
    name = "docker.io/unknownuser/x:1"
    web.driver.refuse(name)
    path = f"/api/v1/images/{name}/retry"
    answer = web.client.post(path, headers=OPERATOR)
    assert (answer.status_code, answer.get_json()["decision"]) == (403, "refused")
    assert "not a namespace" in answer.get_json()["reason"]


def test_what_nobody_asked_for_is_not_found(web: WebApp) -> None:
    answer = web.client.post(RETRY, headers=OPERATOR)
    assert answer.status_code == 404
    assert "never pushed" in answer.get_json()["error"]


def test_all_that_failed_of_one_registry_is_retried(web: WebApp) -> None:
    web.driver.fail()
    body: dict[str, object] = {"failed": True, "registry": "docker.io"}
    answer = web.client.post("/api/v1/retry", json=body, headers=OPERATOR)
    assert (answer.status_code, answer.get_json()) == (202, {"queued": []})
    body["registry"] = "registry.example.org"
    answer = web.client.post("/api/v1/retry", json=body, headers=OPERATOR)
    assert answer.get_json() == {"queued": [REFERENCE]}


@pytest.mark.parametrize(
    "body",
    [{}, {"failed": False}, {"failed": True, "registry": 5}, {"failed": True, "x": 1}],
)
def test_a_wish_that_makes_no_sense_is_refused(web: WebApp, body: object) -> None:
    answer = web.client.post("/api/v1/retry", json=body, headers=OPERATOR)
    assert answer.status_code == 400
    assert "registry" in answer.get_json()["error"]
