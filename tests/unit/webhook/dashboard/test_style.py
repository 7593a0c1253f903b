"""Contrast of the style sheet's colours, counted as WCAG 2.2 defines it (1.4.3, AA)."""

import re
from pathlib import Path

import pytest

from tests.support.tools.contrast import contrast
from webhook import dashboard

STYLE = (Path(dashboard.__file__).parent / "static" / "style.css").read_text()
TONES = ("good", "busy", "idle", "warn", "bad", "gone")
GROUNDS = ("ground", "surface", "sunken")


def colours(scheme: str) -> dict[str, str]:
    light, dark = STYLE.split("prefers-color-scheme: dark", 1)
    names = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        names |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark.split("}", 1)[0]))
    return names


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
