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

from workers.errors import PermanentError, TransientError, WorkerError

# What a refusal's body may have; more is not read.
ERROR_BODY_BYTES = 65536

_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_REQUEST_TIMEOUT = 408
_TOO_EARLY = 425
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = range(500, 600)

_QUOTED_LENGTH = 300
_QUOTED_ERRORS = 3
# A registry that asks for more has to ask again.
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_WHOLE_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


class RegistryUnavailable(TransientError):
    """A registry that does not answer, or asks us to come back."""


class ImageNotFound(PermanentError):
    """The registry knows no such repository, tag, manifest or blob.

    Its own class because a fresh push may become visible a moment after its
    notification: whoever has just been notified may ask again for a while.
    """


class AccessDenied(PermanentError):
    """The registry refuses, after all that our credentials can do.

    Many registries answer this, too, for what does not exist.
    """


class RegistryProtocolError(PermanentError):
    """An answer that no registry following the specification would give."""


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
    if status in {_REQUEST_TIMEOUT, _TOO_EARLY, _TOO_MANY_REQUESTS} or (
        status in _SERVER_ERRORS
    ):
        return RegistryUnavailable(
            message, retry_after=retry_after(refusal.headers.get("Retry-After"), now)
        )
    if refusal.is_storage:
        # A signature that expired between redirect and use, an object that is not yet
        # everywhere: asking the registry again gives another address.
        return RegistryUnavailable(f"{message}, where the registry had sent us")
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
        return ""
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        # A token server's form: Docker Hub's has ``details`` alone.
        errors = [document]
    parts = [_one_complaint(error) for error in errors[:_QUOTED_ERRORS]]
    text = "; ".join(part for part in parts if part)
    return f" ({sanitised(text, hide=hide)})" if text else ""


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
    """Return the seconds that ``Retry-After`` asks for, at most an hour.

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
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)
