"""What the operator wishes of one image, as a program asks for it."""

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE
from tests.support.harness.web_app import OPERATOR, WebApp
from workers.ledger import orders


def test_the_operator_removes_an_image_by_request(web: WebApp) -> None:
    web.driver.make_live()
    path = f"/api/v1/images/{REFERENCE}"
    assert web.client.delete(path).status_code == 401
    answer = web.client.delete(path, headers=OPERATOR)
    assert answer.status_code == 202
    assert answer.json == {"reference": REFERENCE, "decision": "queued"}
    assert web.driver.begin().order == orders.REMOVE


def test_the_operator_restores_an_image_by_request(web: WebApp) -> None:
    for digest in (D1, D2):
        web.driver.clock.passes(1)
        web.driver.make_live(digest)
    path = f"/api/v1/images/{REFERENCE}/restore"
    assert web.client.post(path, json={}).status_code == 401
    answer = web.client.post(path, json={}, headers=OPERATOR)
    assert answer.status_code == 202
    assert answer.get_json()["digest"] == D1
    assert orders.restored_digest(web.driver.begin().order) == D1


@pytest.mark.parametrize(
    ("body", "code"),
    [({"digest": 5}, 400), ({"other": "x"}, 400), ([], 400), ({"digest": "9"}, 404)],
)
def test_a_wish_to_restore_that_makes_no_sense_is_refused(
    web: WebApp, body: object, code: int
) -> None:
    web.driver.make_live()
    path = f"/api/v1/images/{REFERENCE}/restore"
    answer = web.client.post(path, json=body, headers=OPERATOR)
    assert answer.status_code == code
    assert answer.get_json()["error"]
    assert web.driver.image().requested == web.driver.image().done
