"""The door of this folder: what a sender of notifications is to the rest of the front.

A sender is what ``Sender`` says, all of it pure: no clock, no network, no configuration
but the source's own. Its JSON Schema stands beside it.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from jsonschema import Draft202012Validator

from webhook.senders.event import PushEvent
from workers.config import Secret, SourceConfig

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A notification before anything in it is believed.

    Attributes:
        headers: by lower-case name; each character of a value stands for one byte.
        path_secret: what the URL has after the source's name, percent-decoded.
        body: the bytes that were sent, bounded.
    """

    headers: Mapping[str, str]
    path_secret: str | None = None
    body: bytes = b""


class Sender(Protocol):
    """One kind of source."""

    @property
    def CONTENT_TYPES(self) -> frozenset[str]:  # noqa: N802 - a module's constant
        """Media types that it sends, in lower case and without parameters."""

    def schema(self) -> Draft202012Validator:
        """Return the validator for its documents."""

    def authenticate(self, request: IncomingRequest, source: SourceConfig) -> bool:
        """Tell whether the source's sender sent this; called before any parsing."""

    def setup(self, url: str, source: SourceConfig) -> list[str]:
        """Return what to do at the registry so that it sends, line by line.

        Args:
            url: of the source's route.
            source: whose first secret is to be used.
        """

    def parse(self, document: object, source: SourceConfig) -> Iterator[PushEvent]:
        """Give the events of a document that the schema accepts, in order.

        Whoever takes them may stop early; what is not taken costs nothing.
        """


def is_one_of(given: bytes, secrets: tuple[Secret, ...]) -> bool:
    """Compare in a time that tells neither which secret is near nor how near.

    Hashes have one length, and are bytes: ``compare_digest`` raises on other text.
    """
    digest = hashlib.sha256(given).digest()
    is_known = False
    for secret in secrets:
        known = hashlib.sha256(secret.reveal().encode()).digest()
        is_known |= hmac.compare_digest(digest, known)
    return is_known


def authorized_by_header(request: IncomingRequest, source: SourceConfig) -> bool:
    """Check ``Authorization: Bearer <secret>``, or the secret without a scheme.

    GitLab's own receiver wants the bare secret, so its administrators write that too
    (gitlabhq/gitlabhq, lib/api/container_registry_event.rb).
    """
    if request.path_secret is not None:
        # Somebody took this for a source of another kind; one way in is enough.
        return False
    # WSGI hands bytes over as Latin-1; a secret beyond ASCII arrives as its UTF-8.
    value = request.headers.get("authorization", "").encode("latin-1", "replace")
    bare = is_one_of(value, source.secrets)
    scheme, _, token = value.partition(b" ")
    bearer = is_one_of(token.strip(), source.secrets)
    return bare | (bearer & (scheme.lower() == b"bearer"))
