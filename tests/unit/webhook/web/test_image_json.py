"""What the API says of one image."""

import json

from tests.support.harness.ledger import D1, D2, REFERENCE
from tests.support.harness.web_app import FQRN, OPERATOR, WebApp
from workers.ledger import Outcome, Progress, RunResult, State

IMAGE = f"/api/v1/images/{REFERENCE}"


def test_a_live_image_says_what_is_live_where_and_when_everybody_sees_it(
    web: WebApp,
) -> None:
    web.driver.clock.time = 1_800_000_000
    web.driver.make_live(D1)
    image = web.client.get(IMAGE).get_json()
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


def test_a_running_image_says_how_far_it_is(web: WebApp) -> None:
    web.driver.make_live(D1)
    web.driver.push(D2)
    lease = web.driver.begin()
    progress = Progress(1, 4, 100, 1000)
    web.driver.ledger.stage(lease, State.FETCHING, digest=D2, progress=progress)
    image = web.client.get(IMAGE).get_json()
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


def test_a_failed_image_says_why_and_when_it_is_tried_again(web: WebApp) -> None:
    web.driver.push(D1)
    web.driver.ledger.finish(
        web.driver.begin(),
        RunResult(
            Outcome.FAILED,
            reason="the registry answers 503",
            next_try=web.driver.clock() + 60,
        ),
    )
    image = web.client.get(IMAGE, headers=OPERATOR).get_json()
    assert (image["state"], image["reason"]) == ("failed", "the registry answers 503")
    assert image["next_try"] == "2027-01-15T08:01:00Z"


def test_the_secrets_of_a_run_and_who_pushed_are_nobodys_business(web: WebApp) -> None:
    web.driver.push_public(D1)
    lease = web.driver.begin(worker="machine-7.internal")
    for path in (IMAGE, "/api/v1/images"):
        text = web.client.get(path).text
        assert lease.token not in text
        assert "machine-7" not in text
        assert "ana" not in json.loads(text).values()
        assert '"ana"' not in text
