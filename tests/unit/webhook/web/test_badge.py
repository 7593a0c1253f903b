"""The badge of an image."""

from xml.etree import ElementTree as ET

import pytest

from tests.support.harness.ledger import D1, REFERENCE
from tests.support.harness.web_app import WebApp
from tests.support.tools.contrast import contrast
from webhook.web.badge import _COLOURS, badge_svg
from workers.ledger import State


def test_the_white_words_of_a_badge_can_be_read() -> None:
    for colour in {*_COLOURS.values(), "#424a53"}:
        assert contrast("#ffffff", colour) >= 4.5


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_colour_and_a_word(state: State) -> None:
    assert f"CVMFS: {state.value}" in badge_svg(state)


def badge_words(web: WebApp, reference: str) -> tuple[str, str]:
    answer = web.client.get(f"/badge/{reference}.svg")
    assert answer.status_code == 200
    assert answer.mimetype == "image/svg+xml"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    svg = ET.fromstring(answer.text)
    title = svg.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    return svg.attrib["aria-label"], title.text or ""


def test_a_badge_says_the_state_to_the_eye_and_the_ear(web: WebApp) -> None:
    assert badge_words(web, REFERENCE) == ("CVMFS: not known",) * 2
    web.driver.push_public(D1)
    assert badge_words(web, REFERENCE) == ("CVMFS: queued",) * 2
    web.driver.publish(web.driver.begin())
    assert badge_words(web, REFERENCE) == ("CVMFS: live",) * 2


def test_a_badge_of_no_name_is_refused(web: WebApp) -> None:
    assert web.client.get("/badge/UPPER/<script>.svg").status_code == 400
