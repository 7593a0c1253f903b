"""The door of this folder: what a sender of notifications is to the rest of the front.

A sender is what ``Sender`` says, all of it pure: no clock, no network, no configuration
but the source's own. Its JSON Schema stands beside it.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
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


class Reaction(Enum):
    """What a sender does once it has an answer."""

    DONE = "goes on, and takes it for success"
    LOST = "goes on, and tells its users at most"
    AGAIN = "sends the same again"


@dataclass(frozen=True, slots=True)
class SenderHabits:
    """How a kind of sender sends, and what it does with our answers.

    Attributes:
        repeats: how often it sends again what is not done; None: until it is done.
        is_in_order: whether everything later waits while it repeats.
        done: statuses that it takes for success.
        largest_bytes: of a notification that it can produce, where strangers can make
            it large; 0: only the configuration's bound counts.
    """

    repeats: int | None
    is_in_order: bool
    done: range = range(200, 300)
    largest_bytes: int = 0

    def reaction(self, status: int) -> Reaction:
        """Return what it does with an answer of this status."""
        if status in self.done:
            return Reaction.DONE
        return Reaction.LOST if self.repeats == 0 else Reaction.AGAIN

    def status_of_refusal(self, status: int) -> int:
        """Return with which status to refuse what is no better when sent again.

        Whoever would send it again is told that we are done with it, for nothing of
        that helps, and what comes after it would wait.

        Args:
            status: that says what is wrong.
        """
        return 200 if self.reaction(status) is Reaction.AGAIN else status


class Sender(Protocol):
    """One kind of source."""

    @property
    def HABITS(self) -> SenderHabits:  # noqa: N802 - a module's constant
        """How it sends, by its source or its documentation."""

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
