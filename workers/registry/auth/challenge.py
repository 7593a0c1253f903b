"""The ``WWW-Authenticate`` header, taken apart.

Pure. The header is written by whoever answered, so any text at all either parses or
raises ``MalformedChallenge``; what a challenge asks for is judged elsewhere.

Source: RFC 9110 11.6.1 (grammar, several challenges in one header), 5.6.4 (quoted
strings); distribution ``docs/content/spec/auth/token.md``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workers.errors import PermanentError

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110's word for it
_SCHEME = re.compile(rf"({_TOKEN})(?=[ ,]|$)")
_PARAMETER = re.compile(
    rf'({_TOKEN}) *= *(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")(?= *(?:,|$))'
)
_TOKEN68 = re.compile(r" *[A-Za-z0-9._~+/\-]+=*(?= *(?:,|$))")
_SEPARATORS = re.compile(r"[ ,]*")
_QUOTED_PAIR = re.compile(r"\\(.)")

# Far above what any registry sends.
_LONGEST_HEADER = 8192


class MalformedChallenge(PermanentError):
    """A ``WWW-Authenticate`` header that follows no grammar."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in, as a registry offers it.

    Attributes:
        scheme: lower case, ``bearer`` or ``basic``.
        parameters: by lower-case name, unquoted.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return every challenge of a header, in its order; none for an empty one.

    Raises:
        MalformedChallenge: it cannot be read to its end.
    """
    if len(header) > _LONGEST_HEADER:
        raise MalformedChallenge(
            f"WWW-Authenticate has {len(header)} characters, the limit is "
            f"{_LONGEST_HEADER}"
        )
    if not header.isascii() or not header.isprintable():
        raise MalformedChallenge("WWW-Authenticate is not printable ASCII")
    challenges: list[Challenge] = []
    position = _after(_SEPARATORS, header, 0)
    while position < len(header):
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            raise _malformed(header, position)
        parameters, position = _parameters(header, scheme.end())
        challenges.append(Challenge(scheme[1].lower(), parameters))
    return tuple(challenges)


def _parameters(header: str, position: int) -> tuple[Mapping[str, str], int]:
    """Read what belongs to the scheme before ``position``, up to the next scheme."""
    parameters: dict[str, str] = {}
    start = _after(_SEPARATORS, header, position)
    while parameter := _PARAMETER.match(header, start):
        name, word, quoted = parameter.groups()
        if name.lower() in parameters:
            # RFC 9110 11.2: at most once. Two realms would be one for each reader.
            raise _malformed(header, start)
        if word is None:
            word = _QUOTED_PAIR.sub(r"\1", quoted)
        parameters[name.lower()] = word
        start = _after(_SEPARATORS, header, parameter.end())
    if not parameters and "," not in header[position:start]:
        token68 = _TOKEN68.match(header, position)
        if token68 is not None:
            start = _after(_SEPARATORS, header, token68.end())
    return parameters, start


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return where the match that is always there ends."""
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _malformed(header: str, position: int) -> MalformedChallenge:
    return MalformedChallenge(
        f"WWW-Authenticate cannot be read from {header[position : position + 60]!r}"
    )
