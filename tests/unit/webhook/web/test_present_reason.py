"""What a page says of a refusal never contradicts the policy beside it."""

import pytest

from tests.support.harness.ledger import D1, REFERENCE
from tests.support.harness.web_app import OPERATOR, WebApp
from webhook.web.present_reason import ALLOWED_NOW
from workers.ledger import Outcome, RunResult

PATHS = (f"/images/{REFERENCE}", f"/api/v1/images/{REFERENCE}")
OLD = "no rule of the policy allows it"


@pytest.mark.parametrize("path", PATHS)
def test_beside_allowed_nothing_says_that_no_rule_allows(
    web: WebApp, path: str
) -> None:
    web.driver.refuse(reason=OLD)
    text = web.client.get(path, headers=OPERATOR).text
    assert OLD not in text
    assert ALLOWED_NOW.split("`")[0] in text


@pytest.mark.parametrize("path", PATHS)
def test_of_a_refusal_the_reason_of_today_is_said(web: WebApp, path: str) -> None:
    web.driver.refuse(reason=OLD)
    web.policy_path.write_text(
        "version: 1\nrules:\n  - deny: registry.example.org/**\n    reason: too large\n"
    )
    text = web.client.get(path, headers=OPERATOR).text
    assert OLD not in text
    assert "too large" in text


def test_what_the_registry_said_stays(web: WebApp) -> None:
    web.driver.push()
    why = "it cannot be pulled without a login"
    web.driver.ledger.finish(web.driver.begin(), RunResult(Outcome.REFUSED, D1, why))
    found = web.client.get(PATHS[1], headers=OPERATOR).get_json()
    assert (found["reason"], found["policy"]["allowed"]) == (why, True)


def test_who_may_not_see_an_image_is_told_nothing_of_it(web: WebApp) -> None:
    before = web.client.get(PATHS[1]).get_json()
    web.driver.refuse(reason=OLD)
    assert web.client.get(PATHS[1]).get_json() == before
