"""What the page of one image says of its record."""

import json

import pytest

from tests.support.harness.ledger import D1, D2, REFERENCE
from tests.support.harness.web_app import FQRN, OPERATOR, WebApp
from webhook.dashboard import words
from workers.ledger import (
    LiveImage,
    Outcome,
    Progress,
    RunResult,
    State,
)

PAGE = f"/images/{REFERENCE}"


def test_a_live_image_says_yes_and_where_it_is(web: WebApp) -> None:
    web.driver.make_live(D1)
    page = web.client.get(PAGE).text
    assert "Yes. What the registry has is live." in page
    path = f"/cvmfs/{FQRN}/{REFERENCE}"
    assert f"apptainer exec {path} bash" in page
    assert D1 in page
    assert "in 2 min at the latest" in page.replace("</time>", "")
    web.driver.clock.passes(121)
    assert "Nodes see it by now" in web.client.get(PAGE).text


def test_an_image_in_other_formats_is_found_there_too(web: WebApp) -> None:
    web.driver.push(D1)
    places = {
        "image": "/.images/11/11.sqfs",
        "podman": REFERENCE,
        "thin": "thin.example/atlas/analysis:v1",
        "layers": "/.layers",
    }
    web.driver.ledger.finish(
        web.driver.begin(),
        RunResult(
            Outcome.PUBLISHED,
            digest=D1,
            revision=1,
            repository=FQRN,
            live=LiveImage(places),
        ),
    )
    page = web.client.get(PAGE).text
    assert f"/cvmfs/{FQRN}/.images/11/11.sqfs" in page
    assert f"podman run {REFERENCE}" in page
    assert "docker run thin.example/atlas/analysis:v1" in page
    assert "Nowhere yet" not in page
    assert "containerd" not in page  # there are simpler ways
    said = json.loads(web.client.get(f"/api/v1{PAGE}").text)
    assert said["path"] is None
    assert said["places"]["image"] == f"/cvmfs/{FQRN}/.images/11/11.sqfs"
    assert said["places"]["podman"] == REFERENCE


def test_what_has_to_be_known_of_what_is_live_is_said(web: WebApp) -> None:
    web.driver.push(D1)
    notes = ("It is <b>old</b>.", "It has no layers.")
    web.driver.ledger.finish(
        web.driver.begin(),
        RunResult(
            Outcome.PUBLISHED,
            digest=D1,
            live=LiveImage({"flat": "/there"}, notes=notes),
        ),
    )
    page = web.client.get(PAGE).text
    assert "It is &lt;b&gt;old&lt;/b&gt;." in page
    assert "It has no layers." in page
    said = json.loads(web.client.get(f"/api/v1{PAGE}").text)
    assert said["notes"] == list(notes)


def test_an_image_of_layers_alone_is_not_nowhere(web: WebApp) -> None:
    web.driver.push(D1)
    web.driver.ledger.finish(
        web.driver.begin(),
        RunResult(
            Outcome.PUBLISHED,
            digest=D1,
            revision=1,
            repository=FQRN,
            live=LiveImage({"layers": "/.layers"}),
        ),
    )
    page = web.client.get(PAGE).text
    assert "containerd" in page
    assert f"/cvmfs/{FQRN}/.layers" in page


def test_a_refused_image_says_no_and_why(web: WebApp) -> None:
    name = "docker.io/unknownuser/miner:latest"
    web.driver.refuse(name, "not a namespace of the experiment")
    page = web.client.get(f"/images/{name}", headers=OPERATOR).text
    assert "No. It was refused." in page
    assert "not a namespace of the experiment" in page
    assert "rule 2" in page
    assert "Only the operator sees this page" in page
    assert "Look at the registry" not in page


def test_a_failed_image_says_no_and_why_and_what_is_live_meanwhile(web: WebApp) -> None:
    web.driver.make_live(D1)
    web.driver.push(D2)
    lease = web.driver.begin()
    web.driver.ledger.stage(lease, State.FETCHING, digest=D2)
    reason = "layer 3 is cut short"
    result = RunResult(Outcome.FAILED, reason=reason, is_reason_open=True)
    web.driver.ledger.finish(lease, result)
    page = web.client.get(PAGE).text
    assert "No. It could not be published." in page
    assert "layer 3 is cut short" in page
    assert "stays live meanwhile" in page
    assert D1 in page
    assert D2 in page


def test_a_failure_that_may_pass_says_when_it_is_tried_again(web: WebApp) -> None:
    web.driver.push(D1)
    web.driver.ledger.finish(
        web.driver.begin(),
        RunResult(
            Outcome.FAILED,
            reason="the registry answers 503",
            next_try=web.driver.clock() + 90,
            is_public=True,
        ),
    )
    page = web.client.get(PAGE).text
    assert "Not yet. The last try failed." in page
    assert "by ourselves" in page
    assert "in 1 min" in page


@pytest.mark.parametrize("state", words.RUNNING)
def test_a_running_image_says_its_stage_and_how_far_it_is(
    web: WebApp, state: State
) -> None:
    web.driver.push_public(D1)
    progress = Progress(2, 7, 500_000_000, 1_000_000_000)
    web.driver.ledger.stage(web.driver.begin(), state, progress=progress)
    for page in (web.client.get(PAGE).text, web.client.get("/").text):
        assert words.STATES[state].word in page
        assert "2 of 7 layers, 500 MB of 1.0 GB" in page
        assert '<progress value="50"' in page


def test_an_image_that_nobody_pushed_says_what_the_policy_would_do(web: WebApp) -> None:
    path = "/images/registry.example.org/never/pushed:v1"
    answer = web.client.get(path, headers=OPERATOR)
    assert answer.status_code == 404
    assert "The policy allows it" in answer.text
    answer = web.client.get("/images/quay.io/never/pushed:v1", headers=OPERATOR)
    assert "The policy would refuse it: no rule allows" in answer.text


def test_the_history_tells_each_run(web: WebApp) -> None:
    web.driver.push(D1)
    lease = web.driver.begin()
    web.driver.clock.passes(2)
    web.driver.ledger.stage(lease, State.FETCHING, digest=D1)
    web.driver.clock.passes(30)
    web.driver.publish(lease)
    web.driver.fail(REFERENCE)
    page = web.client.get(PAGE).text
    history = page[page.index("history-heading") :]
    assert history.index("Failed") < history.index("Published")
    assert "looking up 2.0 s" in history
    assert "downloading 30 s" in history
    assert "32 s" in history
    assert "hub" in history
