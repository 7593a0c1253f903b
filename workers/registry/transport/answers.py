"""What a registry says when it does not give, as our errors.

Pure: a status, headers and the first bytes of a body in, an error out. The registry
writes the body, so what is quoted of it is short, printable and free of our secrets.

Source: distribution-spec ``spec.md``, section "Error Codes"; RFC 9110 10.2.3
(Retry-After); HTTP 429 as Docker Hub and Quay use it.
"""

import email.utils
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from workers.errors import Hindrance, PermanentError, TransientError, WorkerError

# What a refusal's body may have; more is not read.
ERROR_BODY_BYTES = 65536

_BAD_REQUESTS = range(400, 500)
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_REQUEST_TIMEOUT = 408
_MISDIRECTED = 421
_TOO_EARLY = 425
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = range(500, 600)

_QUOTED_LENGTH = 300
_QUOTED_ERRORS = 3
# A registry that asks for more has to ask again. It is Docker Hub's window.
LONGEST_RETRY_AFTER_SECONDS = 6 * 3600.0
_WHOLE_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
# ``RateLimit-Limit: 100;w=21600``: so many within so many seconds.
# Source: https://docs.docker.com/docker-hub/usage/pulls/
_WINDOW = re.compile(r";\s*w\s*=\s*([0-9]{1,9})(?![0-9])", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_PAGES = frozenset({"text/html", "application/xhtml+xml"})


class RegistryUnavailable(TransientError):
    """A registry that does not answer, or asks us to come back."""


class Throttled(RegistryUnavailable):
    """A registry that has had enough of us for a while, whatever is asked for."""


class StorageRefused(RegistryUnavailable):
    """A storage that a registry sent us to, and that does not take the request."""


class ImageNotFound(PermanentError):
    """The registry knows no such repository, tag, manifest or blob.

    Its own class because a fresh push may become visible a moment after its
    notification: whoever has just been notified may ask again for a while.
    """


class AccessDenied(Hindrance):
    """The registry refuses, after all that our credentials can do.

    Many registries answer this, too, for what does not exist.
    """


class RegistryProtocolError(Hindrance):
    """An answer that no registry following the specification would give."""


class AnswerTooLarge(RegistryProtocolError):
    """A document of more bytes than one of its kind may have."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not what was asked for.

    Attributes:
        status: of the HTTP answer.
        headers: lower-case or case-insensitive.
        body: its first bytes, at most ``ERROR_BODY_BYTES``.
        origin: who answered, without path and query.
        is_storage: it came from where the registry redirected us to.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    origin: str
    is_storage: bool = False


def as_error(
    refusal: Refusal, wanted: str, *, hide: Collection[str], now: datetime
) -> WorkerError:
    """Return the error that tells a person about ``refusal``.

    Args:
        refusal: the answer.
        wanted: what was asked for, as the message's subject.
        hide: secrets that were sent; a registry may echo them.
        now: for a ``Retry-After`` that is a date.
    """
    status = refusal.status
    said = complaint(refusal.body, hide=hide)
    message = f"{wanted}: {refusal.origin} answered {status}{said}"
    wait = retry_after(refusal.headers.get("Retry-After"), now)
    if status == _TOO_MANY_REQUESTS or (status == _FORBIDDEN and wait is not None):
        # GitHub's is a 403. What is said in seconds counts before what follows from a
        # window, which may have begun long ago.
        return Throttled(
            message, retry_after=rate_window(refusal.headers) if wait is None else wait
        )
    if status in _SERVER_ERRORS or (
        status in {_REQUEST_TIMEOUT, _MISDIRECTED, _TOO_EARLY}
    ):
        return RegistryUnavailable(message, retry_after=wait)
    if refusal.is_storage:
        # A signature that expired between redirect and use, an object that is not yet
        # everywhere: asking the registry again gives another address.
        kind = StorageRefused if status in _BAD_REQUESTS else RegistryUnavailable
        return kind(f"{message}, where the registry had sent us")
    if status == _NOT_FOUND and is_page(refusal.headers):
        return RegistryProtocolError(
            f"{message} with a web page, which is not the registry's own answer"
        )
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return AccessDenied(
            f"{message}: it may not exist, or needs credentials under registries in "
            "the configuration"
        )
    if status == _NOT_FOUND:
        return ImageNotFound(f"{message}: it is not there; push it again")
    return RegistryProtocolError(message)


def complaint(body: bytes, *, hide: Collection[str] = ()) -> str:
    """Return the registry's own codes and messages as ``" (…)"``, or ``""``."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        plain = sanitised(_plain_text(body), hide=hide)
        return f" ({plain})" if plain else ""
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        # A token server's form: Docker Hub's has ``details`` alone.
        errors = [document]
    parts = [_one_complaint(error) for error in errors[:_QUOTED_ERRORS]]
    text = "; ".join(part for part in parts if part)
    return f" ({sanitised(text, hide=hide)})" if text else ""


def _plain_text(body: bytes) -> str:
    """Return a body that is neither JSON nor a page, but words; else ``""``."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        return ""
    is_words = text[:1] not in {"<", "{", "["} and " ".join(text.split()).isprintable()
    return text if is_words else ""


def _one_complaint(error: object) -> str:
    if not isinstance(error, dict):
        return ""
    words = (error.get("code"), error.get("message", error.get("details")))
    return ": ".join(word for word in words if isinstance(word, str) and word)


def sanitised(text: str, *, hide: Collection[str] = ()) -> str:
    """Return ``text`` in one printable line, short, without the secrets in ``hide``."""
    for secret in hide:
        if secret:
            text = text.replace(secret, "…")
    line = " ".join(text.split())
    printable = "".join(c if c.isprintable() else "?" for c in line)
    if len(printable) > _QUOTED_LENGTH:
        return printable[: _QUOTED_LENGTH - 1] + "…"
    return printable


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, at most six hours.

    None when it is absent or unreadable; 0 when its date has passed.
    """
    if value is None:
        return None
    if _WHOLE_SECONDS.fullmatch(value.strip()):
        seconds = float(value)
    else:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = (date - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def rate_window(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of the window of a rate limit; None: none is named."""
    window = _WINDOW.search(headers.get("RateLimit-Limit", ""))
    if window is None:
        return None
    return min(float(window[1]), LONGEST_RETRY_AFTER_SECONDS)


def is_page(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer is for browsers: a proxy's, of maintenance or a login."""
    said = headers.get("Content-Type", "").partition(";")[0]
    return said.strip().lower() in _PAGES


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the length that an answer announces; None: none that can be read."""
    # The same twice counts once; others are no answer (connections.TwoLengths).
    length = headers.get("Content-Length", "").partition(",")[0].strip()
    return int(length) if _LENGTH.fullmatch(length) else None


def unwished_encoding(headers: Mapping[str, str]) -> str | None:
    """Return how an answer is encoded although it was asked for as it is."""
    said = sanitised(headers.get("Content-Encoding", ""))
    return None if said.lower() in {"", "identity"} else said
