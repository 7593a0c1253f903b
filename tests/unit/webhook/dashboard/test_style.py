"""Contrast of the style sheet's colours, counted as WCAG 2.2 defines it (1.4.3, AA)."""

import re
from pathlib import Path

import pytest

from webhook import dashboard
from webhook.web.badge import _BUSY, _COLOURS

STYLE = (Path(dashboard.__file__).parent / "static" / "style.css").read_text()
TONES = ("good", "busy", "idle", "warn", "bad", "gone")
GROUNDS = ("ground", "surface", "sunken")


def colours(scheme: str) -> dict[str, str]:
    light, dark = STYLE.split("prefers-color-scheme: dark", 1)
    names = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        names |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark.split("}", 1)[0]))
    return names


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_every_ground_it_stands_on(scheme: str) -> None:
    named = colours(scheme)
    pairs = [(text, on) for text in ("text", "muted", "link") for on in GROUNDS]
    pairs += [("on-accent", "accent")]
    for tone in TONES:
        pairs += [
            (tone, f"{tone}-ground"),
            (tone, "surface"),
            ("text", f"{tone}-ground"),
        ]
    found = {pair: contrast(named[pair[0]], named[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


def test_the_white_words_of_a_badge_can_be_read() -> None:
    for colour in {*_COLOURS.values(), _BUSY, "#424a53"}:
        assert contrast("#ffffff", colour) >= 4.5
