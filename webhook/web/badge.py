"""A small picture of an image's state, for a README: text, colour, spoken name."""

from html import escape

from workers.ledger import State

_LABEL = "CVMFS"
# White text reaches a contrast of 4.5 on each of them.
_BUSY = "#0b63c4"
_GREY = "#57606a"
_COLOURS = {
    State.QUEUED: _BUSY,
    State.RESOLVING: _BUSY,
    State.FETCHING: _BUSY,
    State.CONVERTING: _BUSY,
    State.PUBLISHING: _BUSY,
    State.LIVE: "#1a7f37",
    State.REFUSED: "#9a5b00",
    State.FAILED: "#c4242d",
    State.REMOVED: _GREY,
    None: _GREY,
}
# Verdana 11 px, what such badges are commonly drawn with, is about this wide a letter.
_LETTER_WIDTH = 7
_PADDING = 12


def badge_svg(state: State | None) -> str:
    """Return an SVG of 20 pixels' height; None: there is nothing to show."""
    word = "not known" if state is None else state.value
    left = len(_LABEL) * _LETTER_WIDTH + _PADDING
    right = len(word) * _LETTER_WIDTH + _PADDING
    spoken = escape(f"{_LABEL}: {word}")
    colour = _COLOURS[state]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20"'
        f' role="img" aria-label="{spoken}"><title>{spoken}</title>'
        f'<clipPath id="r"><rect width="{left + right}" height="20" rx="4"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#424a53"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-size="11"'
        ' font-family="Verdana,DejaVu Sans,Geneva,sans-serif">'
        f'<text x="{left / 2:g}" y="14">{_LABEL}</text>'
        f'<text x="{left + right / 2:g}" y="14">{escape(word)}</text></g></svg>\n'
    )
