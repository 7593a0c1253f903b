"""The words of the pages."""

from pathlib import Path

import pytest

from tests.support.harness.web_app import WebApp
from webhook import dashboard
from webhook.dashboard import words
from workers.ledger import Outcome, State

STYLE = (Path(dashboard.__file__).parent / "static/style.css").read_text()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (86_400, "1 day"),
        (200_000, "2 days"),
        (-5, "0 s"),
    ],
)
def test_a_length_of_time_is_said_in_its_largest_unit(
    seconds: float, said: str
) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (412_345_678, "412 MB"),
        (1_450_000_000, "1.4 GB"),
        (20 * 10**12, "20.0 TB"),
    ],
)
def test_a_size_is_said_in_its_largest_unit(number: int, said: str) -> None:
    assert words.size(number) == said


def test_every_state_and_outcome_has_a_word_and_a_picture(web: WebApp) -> None:
    assert set(words.STATES) == set(State)
    assert set(words.OUTCOMES) == {*Outcome, None}
    pictures = web.app.jinja_env.get_template("dashboard/icons.html").module
    for each in (*words.STATES.values(), *words.OUTCOMES.values(), words.RETRYING):
        assert "<svg" in pictures.icon(each.icon)  # type: ignore[attr-defined]
    tones = {each.tone for each in words.STATES.values()}
    tones |= {each.tone for each in words.OUTCOMES.values()}
    assert all(f".tone-{tone} " in STYLE for tone in tones)
