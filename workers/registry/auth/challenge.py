"""The ``WWW-Authenticate`` header, taken apart.

Pure. The header is written by whoever answered, so any text at all either parses or
raises ``MalformedChallenge``; what a challenge asks for is judged elsewhere.

Source: RFC 9110 11.6.1 (grammar, several challenges in one header), 5.6.4 (quoted
strings); distribution ``docs/content/spec/auth/token.md``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workers.errors import Hindrance

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110's word for it
# Any text but control characters, foreign letters among it.
_QUOTED = r'(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x1f\x7f])*'
_SPACE = r"[ \t]*"
_END = rf"(?={_SPACE}(?:,|$))"
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t,]|$)")
_PARAMETER = re.compile(
    rf'({_TOKEN}){_SPACE}={_SPACE}(?:({_TOKEN})|"({_QUOTED})"){_END}'
)
_TOKEN68 = re.compile(rf"{_SPACE}[A-Za-z0-9._~+/\-]+=*{_END}")
_SEPARATORS = re.compile(r"[ \t,]*")
# As much as a comma outside of quotes ends.
_PIECE = re.compile(rf'(?:[^",]|"{_QUOTED}"|")*')
_QUOTED_PAIR = re.compile(r"\\(.)")

# Far above what any registry sends.
_LONGEST_HEADER = 8192


class MalformedChallenge(Hindrance):
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

    What cannot be read does not spoil those that can be: proxies add their own.

    Raises:
        MalformedChallenge: there is something, and none that can be read.
    """
    if len(header) > _LONGEST_HEADER:
        raise MalformedChallenge(
            f"WWW-Authenticate has {len(header)} characters, the limit is "
            f"{_LONGEST_HEADER}"
        )
    challenges: list[Challenge] = []
    malformed: MalformedChallenge | None = None
    position = _after(_SEPARATORS, header, 0)
    while position < len(header):
        scheme = _SCHEME.match(header, position)
        try:
            if scheme is None:
                raise _malformed(header, position)
            parameters, position = _parameters(header, scheme.end())
            challenges.append(Challenge(scheme[1].lower(), parameters))
        except MalformedChallenge as error:
            malformed = malformed or error
            if scheme is None and challenges and not challenges[-1].parameters:
                del challenges[-1]  # these were to be its parameters
            position = _after(_PIECE, header, position)
            position = _after(_SEPARATORS, header, position)
    if malformed is not None and not challenges:
        raise malformed
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
